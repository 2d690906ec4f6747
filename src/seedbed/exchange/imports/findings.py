"""What an import found: the images it matched, missed and refused, and where the result lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedbed.errors import UserError


@dataclass(frozen=True)
class Imported:
    """What an import did.

    `matched`: images whose files were taken. `missed`: ids without a file. `refused`: files (or entries) of wanted
    images that were not taken, with the reason. `extra`: files or entries of other images. `written`: where the result
    lies. `notes`: what was done to files that were taken, or is odd about them, with the number of images.
    """

    matched: int
    missed: list[str]
    refused: list[tuple[str, str]]
    extra: int
    written: Path
    notes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of the file of one image: `value`, with `notes`, unless there are files `refused`, with reasons."""

    image_id: str
    value: Any = None
    notes: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


class Tally:
    """Adds up the outcomes of an import from `source`."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.matched = 0
        self.refused: list[tuple[str, str]] = []
        self.notes: Counter[str] = Counter()

    def add(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Count `outcomes`; return those whose file was taken."""
        taken = []
        for outcome in outcomes:
            self.refused += outcome.refused
            if not outcome.refused:
                self.notes.update(outcome.notes)
                taken.append(outcome)
        self.matched += len(taken)
        return taken

    def require_some(self, wanted: int) -> None:
        """Raise UserError when nothing was taken."""
        if self.matched:
            return
        if self.refused:
            file, reason = self.refused[0]
            raise UserError(
                f"everything in {self.source} that belongs to images of the lists was refused "
                f"({len(self.refused)}), the first is {file}: {reason}; nothing was written"
            )
        raise UserError(
            f"nothing in {self.source} belongs to one of the {wanted} images of the lists; nothing was written",
            "files are matched by name, <id>.<suffix>: see data.train and data.val in params.yaml",
        )

    def imported(self, missed: list[str], extra: int, written: Path) -> Imported:
        """Return what the import did."""
        return Imported(self.matched, missed, self.refused, extra, written, dict(sorted(self.notes.items())))
