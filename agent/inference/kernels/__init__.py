"""Compiled pre- and post-processing. A kernel never allocates and never raises: it gets its output buffer, and answers
with a number where something is wrong.
"""
