"""`controller model convert`."""
