"""Numerics of other processors without owning them: variants under user-mode emulation, outputs only."""
