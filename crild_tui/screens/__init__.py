"""The four modes and the dialogs of the dashboard."""
