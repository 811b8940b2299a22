"""Commands of the form noun-verb: one file a noun."""
