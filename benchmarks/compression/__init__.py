"""Every technique of compression on the reference models, and what compressing takes."""
