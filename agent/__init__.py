"""What runs on a device: a light control process (the daemon) and child processes (workers) that do the heavy work.

This package's control process loads neither numpy nor numba nor an engine; workers do. Never imports `controller`.
"""
