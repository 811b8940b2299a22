"""A program for each toolkit, run by its own environment's Python: files in, a file out. They import nothing of ours
but each other."""
