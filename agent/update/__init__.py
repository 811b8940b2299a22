"""How a workload's bundle is replaced: the pure machine, what it saves, fetching, trust, and the shell around them."""
