"""Sweeps: methods x tasks x seeds x any setting, from one file to many runs. Light: only their engines load torch.

file = read_sweep(path)                    # spec: the declaration, every problem with it
plan = plan(file)                          # grid, plan: cells with their presets, checked
reconcile(file, plan, runs_dir)            # its existing runs, and whether they still match
submit(plan, runs_dir, slots_for(...))     # a background process executes it (execute, order)
matrix(record, entries, now=...)           # method x task, progress, time left
"""
