"""Bundles and data sets on a device's disk: what has arrived of them, how they are put together, which are kept."""
