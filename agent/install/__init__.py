"""How the agent comes onto a device, is renewed beside itself, claims its name, and goes."""
