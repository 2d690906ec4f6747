"""`python -m seedbed.cli`: the command line without its script."""

from __future__ import annotations

from seedbed.cli.main import main

main()
