"""The `controller` command line: what stands here is imported at each start, commands only when they are called."""

from controller.cli.entry import main

__all__ = ["main"]
