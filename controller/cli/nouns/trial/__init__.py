"""`controller trial …`: what devices measured; one module a command."""
