"""Commands that stand directly under `controller`: one file a command."""
