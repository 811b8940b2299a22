"""What crosses the network: topics, messages, envelopes, bundle manifests, sketches and the device's states.

Pure: no clock, no randomness, no sockets. Both sides import this package and never each other.
"""

PROTOCOL = 1
"""Wire protocol number. It rises when a field changes its meaning; added fields do not raise it."""

OLDEST_PROTOCOL = 1
"""Oldest protocol number that this release still understands."""
