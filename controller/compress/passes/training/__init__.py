"""Passes that train, one a file: each makes an order for the worker in the converter environment `torch`."""
