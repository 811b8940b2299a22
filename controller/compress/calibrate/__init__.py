"""Calibration.

Which range each activation takes over the calibration samples, in memory that does not grow with them.
"""
