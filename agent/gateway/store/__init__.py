"""What the gateway keeps on the disk: predictions that wait for their sink, and captured samples."""
