"""What the serving benchmark runs as processes of their own: the bare pipeline, a timed worker, an application."""
