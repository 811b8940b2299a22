"""Steps on a float file that are no compression passes of their own: half-precision TFLite, int8 for TensorRT."""
