"""Following a run: its events folded into a picture, drawn on a screen or told in plain lines."""
