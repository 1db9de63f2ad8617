"""The one loop: stages, optimiser, checkpoints, seeding. The only place that knows about steps."""
