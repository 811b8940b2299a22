"""Conversions, one a module, that run in a converter environment: `python -m …workers.NAME ORDER.json`.

They map files to files. At module level they import the standard library and each other only; what the environment
holds is imported inside functions. `frame.py` reads the order and writes the result; `controller/convert/environments`
starts them.
"""
