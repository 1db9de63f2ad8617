"""The documentation, and the code that writes parts of its reference."""
