"""Help texts of options of `crild run` that the launch form shows too."""

SEEDS = "One run per seed, one after the other."
THEN = (
    "Then, in the same way, distil PRESETs (separated by commas) into a student that starts as this run's. A task alone takes "
    "this run's method, a method alone this run's task. Repeatable."
)
NAME = "The run's id becomes NAME-s<seed>. [default: task-method-time]"
