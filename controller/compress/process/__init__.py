"""Work in child processes: passes, inspections, and the agent's worker. What crashes there ends there."""
