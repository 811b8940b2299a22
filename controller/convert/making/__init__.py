"""Making a conversion: which way leads there, carrying it out, judging it, keeping it beside the model."""
