"""Follow a run: its events reduced to a summary, drawn on a screen or printed as lines."""
