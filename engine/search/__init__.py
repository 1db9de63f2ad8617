"""Searches: the best recipe over keys of a preset, as trials whose runs are those of a sweep. Light: optuna loads in their process.

file = read_search(path)              # declaration: the [search] table, every problem with it
plan = plan_search(file)              # plan: the starting presets, which ranges are possible, the presets of a trial
submit(plan, runs_dir, slots)         # submit: a background process executes it (supply, on engine/sweep/execute.py)
read_trials(file)                     # trials: what the process says of the trials so far
"""
