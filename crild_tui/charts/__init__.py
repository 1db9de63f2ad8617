"""Drawing curves in character cells: pure functions from numbers to characters. Nothing here knows of Textual."""
