"""Where predictions go: one sink a module, behind `agent.gateway.base.Sink`, and the store before them."""
