"""What the device is and how it does: identity, processor, vital signs, durable files, and its own voice."""
