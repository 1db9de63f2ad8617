"""The one loop: stages, optimiser, checkpoints, seeding. The only package that knows about steps."""
