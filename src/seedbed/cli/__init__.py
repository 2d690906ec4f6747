"""The command line: one command per stage, and the commands around them.

Nothing heavy is imported here: every command imports what it runs, so that --help answers at once.
"""

from __future__ import annotations

from seedbed.cli.main import app, main

__all__ = ["app", "main"]
