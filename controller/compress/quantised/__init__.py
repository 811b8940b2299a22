"""What makes static int8 lose less: operators that stay float, and biases that take back what rounding shifts."""
