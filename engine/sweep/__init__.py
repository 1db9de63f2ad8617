"""Sweeps: methods x tasks x seeds x any key, from one file to many runs. Light: torch is loaded by their engines.

file = read_sweep(path)                    # spec: the declaration, every problem with it
plan = plan(file)                          # grid, plan: cells with their presets, checked
reconcile(file, plan, runs_dir)            # what there is of it already, and whether it still fits
submit(plan, runs_dir, slots_for(...))     # a process of its own works through it (execute, order)
matrix(record, entries, now=...)           # method x task, progress, time left
"""
