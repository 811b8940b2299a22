"""Searches for recipes that a fleet's devices drive: candidates become trials, records become readings.

Decides: what of a search is asked of devices, and what it costs. Leaves out: the search (`controller/compress/search`),
which knows no fleet, and choosing and rolling out, which a deploy does.
"""
