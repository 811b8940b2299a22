"""The demo: a broker, six local agents, and one real deploy from nothing to a report."""
