"""Choose a variant per device class: limits first, then the front and the objective, always with reasons. Pure."""
