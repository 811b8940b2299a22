"""HTTP for applications on the device, over a Unix socket or a loopback port."""
