"""The engine: presets in, distilled students out. Nothing is imported here, so that light parts stay light."""
