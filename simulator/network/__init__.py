"""Many devices' connections in one process, on one loop: no thread is a device's own."""
