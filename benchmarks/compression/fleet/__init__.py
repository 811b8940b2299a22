"""Searches that this host's times drive against searches that the devices' drive, at equal device-minutes."""
