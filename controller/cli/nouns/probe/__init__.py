"""`controller model probe`."""
