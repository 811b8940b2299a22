"""Captured samples on their way to the controller."""
