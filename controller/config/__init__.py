"""What a user writes in YAML: read, checked, and refused with file, line and field."""
