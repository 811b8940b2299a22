"""Who measures what, in which order, and the preview of a deploy."""
