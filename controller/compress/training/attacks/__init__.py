"""Inputs changed so that a network errs: how it is done, and how often a network then errs."""
