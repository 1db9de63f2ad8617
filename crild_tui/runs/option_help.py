"""Help texts of options of `crild run` that the launch form shows too."""

SEEDS = "One run per seed, one after the other."
NAME = "The run's id becomes NAME-s<seed>. [default: task-method-time]"
