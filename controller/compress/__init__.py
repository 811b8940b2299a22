"""Compression: recipes, passes, their cache, and what a variant is worth before any device has seen it.

Maps files to files; knows no broker, no fleet and no rollout.
"""
