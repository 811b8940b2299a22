"""What files of pictures say of themselves, and whether all of them is there: read before a decoder sees them."""
