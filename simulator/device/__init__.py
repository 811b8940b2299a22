"""One simulated device: the agent's machine, agenda and fetch around work that is only timed."""
