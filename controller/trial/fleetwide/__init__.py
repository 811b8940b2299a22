"""What trials say of a whole class: variance split, prediction, slow devices told from slow models."""
