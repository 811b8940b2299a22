"""Where queries come from: one source a module, behind `base.Source`."""
