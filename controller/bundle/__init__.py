"""Bundles: a variant with everything that runs it, under one digest, cut into chunks that travel."""
