"""Metrics as GLUE defines them, and the predictions that they are computed on."""
