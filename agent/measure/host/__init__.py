"""The host that is measured on, seen from the control process: turns, cores, the page cache. Light."""
