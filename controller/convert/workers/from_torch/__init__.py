"""From a PyTorch module or an exported program: one target a module."""
