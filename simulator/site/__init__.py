"""The devices of one process, what they count together, and several such processes."""
