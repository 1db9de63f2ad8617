"""Start and signal engine processes. Light: only the processes themselves load torch."""
