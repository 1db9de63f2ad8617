"""Threads that look at files and hand out frozen snapshots of what they saw. Nothing here draws."""
