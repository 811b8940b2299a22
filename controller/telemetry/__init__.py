"""What devices tell of their serving: summaries as numbers, and single queries on request."""
