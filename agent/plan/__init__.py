"""The measuring plan: a machine of its own beside the update machine, sharing fetch and store."""
