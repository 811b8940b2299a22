"""Measuring on the device: orders, the worker that carries them out, and the queue that gives them."""
