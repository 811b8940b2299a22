"""What the report shows of one device class: its figure, the front in it, and its engines side by side."""
