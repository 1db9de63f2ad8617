"""Run directories: status, events, lock, listing. Light: no torch, and each module is imported by who needs it."""
