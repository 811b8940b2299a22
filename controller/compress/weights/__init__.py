"""What can be done to weights without any data: fewer of them, fewer values, smaller factors, equal ranges."""
