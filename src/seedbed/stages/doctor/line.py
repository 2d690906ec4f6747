"""One line of the examination: how things stand, what was seen, and the command that mends it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_PLACE = re.compile(r"line \d+(, column \d+)?")
State = Literal["ok", "note", "problem"]
"""note: nothing that keeps the pipeline from running, but worth knowing; problem: it would fail, or mislead."""


@dataclass(frozen=True)
class Line:
    """What one look showed. `fix`, which every problem has, is the command or the edit that mends it."""

    state: State
    what: str
    fix: str | None = None


def ok(what: str) -> Line:
    """Return a line about something that is as it should be."""
    return Line("ok", what)


def note(what: str, fix: str | None = None) -> Line:
    """Return a line about something worth knowing."""
    return Line("note", what, fix)


def problem(what: str, fix: str) -> Line:
    """Return a line about something that must be mended."""
    return Line("problem", what, fix)


def headline(what: str) -> str:
    """Return the first line of `what`, and the place in a file that a later line names, as those of YAML errors do."""
    first, *rest = what.splitlines()
    places = [found.group() for line in rest if (found := _PLACE.search(line))]
    return f"{first} ({places[-1]})" if places else first


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first `most` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
