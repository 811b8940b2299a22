"""`controller model advise`."""
