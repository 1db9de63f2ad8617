"""Draw curves in character cells: pure functions from numbers to characters, without Textual."""
