"""From a Keras model or a SavedModel: one target a module."""
