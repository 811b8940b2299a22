"""The gateway: the process between the world and the workers. It has the network; a worker has none."""
