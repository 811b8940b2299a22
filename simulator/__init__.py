"""The load generator: real wire messages and the real device machine, virtual work. May import both sides."""
