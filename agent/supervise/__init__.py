"""Keeping a workload served: one worker process at a time, two while they change over."""
