"""What the Launch mode computes: no widgets here."""
