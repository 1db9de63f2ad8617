"""Checks of a preset against its files and model configs, before a run directory exists. Light: no torch."""
