"""What `import crild` offers, one module for each thing; everything else is imported inside functions."""
