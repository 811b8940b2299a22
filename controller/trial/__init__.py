"""Trials: which device measures what, what it will cost, and what the records say."""
