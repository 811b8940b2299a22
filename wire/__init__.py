"""What crosses the network: topics, messages, envelopes, bundle manifests, sketches and the device's states.

Pure: no clock, no randomness, no sockets. Both sides import this package and never each other.
"""

PROTOCOL = 1
"""Wire protocol number. It rises when a field changes its meaning; added fields do not raise it."""

PROTOCOLS_BEHIND = 2
"""So many older protocols are still served: a fleet is never updated at once."""
