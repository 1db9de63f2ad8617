"""Runs as the command line and the dashboard handle them: create, list, filter, act on, describe. No Textual here."""
