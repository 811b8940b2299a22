"""Where a file is cut: at large tensors, and between them where its content says."""
