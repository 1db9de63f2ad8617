"""Checks of a preset against its files and model configs, before a run directory exists. Imports no torch."""
