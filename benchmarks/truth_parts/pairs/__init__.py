"""Pairs of bundles, alike or 5 % apart: how often the product calls them different."""
