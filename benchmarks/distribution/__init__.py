"""What distribution costs: bytes that a changed model moves."""
