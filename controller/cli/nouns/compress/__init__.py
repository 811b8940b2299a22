"""`controller model compress`: the variants that recipes ask for, or the best that a search finds."""
