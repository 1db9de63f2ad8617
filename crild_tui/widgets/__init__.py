"""Widgets that draw and ask; they compute nothing and read no files."""
