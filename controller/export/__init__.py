"""What other tools read of the controller: Prometheus metrics, and whether it is alive and ready."""
