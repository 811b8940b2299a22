"""Serving: the worker that answers queries, and where its queries come from."""
