"""Presets: their schema, loading, merging and explaining. Light: no torch."""
