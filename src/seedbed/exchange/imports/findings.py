"""What an import found: the images it matched, missed and refused, and where the result lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from seedbed.errors import UserError


@dataclass(frozen=True)
class Imported:
    """What an import did.

    `taken`: images whose files were taken. `missed`: ids without a file. `refused`: files (or entries) of wanted
    images that were not taken, with the reason. `extra`: files or entries of other images. `written`: where the result
    lies. `notes`: what was done to files that were taken, or is odd about them, with the number of images.
    """

    taken: list[str]
    missed: list[str]
    refused: list[tuple[str, str]]
    extra: int
    written: Path
    notes: dict[str, int] = field(default_factory=dict)

    @property
    def matched(self) -> int:
        """The number of images whose files were taken."""
        return len(self.taken)


class ContradictionError(UserError):
    """A file that speaks of other classes than the label of its image: it may be that of another one."""


@dataclass(frozen=True)
class Outcome:
    """What became of the file of one image: `value`, with `notes`, unless there are files `refused`, with reasons.

    `fix` says how to mend that, where there is a way; `contradicts`: the reason is that classes differ from the label.
    """

    image_id: str
    value: Any = None
    notes: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    fix: str | None = None
    contradicts: bool = False

    @classmethod
    def of_error(cls, image_id: str, file: str, error: UserError) -> Outcome:
        """Return what became of a `file` that was refused by an `error`."""
        contradicts = isinstance(error, ContradictionError)
        return cls(image_id, refused=((file, error.message),), fix=error.fix, contradicts=contradicts)


class Tally:
    """Adds up the outcomes of an import from `source`; `matching` tells the user how images are found in it."""

    def __init__(self, source: Path, matching: str) -> None:
        self.source, self.matching = source, matching
        self.taken: list[str] = []
        self.notes: Counter[str] = Counter()
        self._failed: list[Outcome] = []

    def add(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Count `outcomes`; return those whose file was taken."""
        taken = []
        for outcome in outcomes:
            if outcome.refused:
                self._failed.append(outcome)
            else:
                self.notes.update(outcome.notes)
                taken.append(outcome)
        self.taken += [outcome.image_id for outcome in taken]
        return taken

    @property
    def refused(self) -> list[tuple[str, str]]:
        """Files (or entries) that were not taken, with the reason."""
        return [one for outcome in self._failed for one in outcome.refused]

    def require_sound(self, wanted: int) -> None:
        """Raise UserError when nothing was taken, or most of what is there contradicts the image labels.

        Files of other images, or with other numbers of classes, agree with some labels by chance.
        """
        contradicting = [outcome for outcome in self._failed if outcome.contradicts]
        found = len(self.taken) + len(self._failed)
        if len(contradicting) * 2 > found:
            self._refuse(f"{len(contradicting)} of {found} in {self.source} contradict the image labels", contradicting)
        if self._failed and not self.taken:
            what = f"everything in {self.source} that belongs to images of the lists was refused"
            self._refuse(f"{what} ({len(self.refused)})", self._failed)
        if not self.taken:
            raise UserError(
                f"nothing in {self.source} belongs to one of the {wanted} images of the lists; nothing was written",
                f"{self.matching}: see data.train and data.val in params.yaml",
            )

    def _refuse(self, what: str, failed: Sequence[Outcome]) -> NoReturn:
        """Raise UserError with the commonest way to mend what `failed`, and the first example of that."""
        fix = Counter(outcome.fix for outcome in failed).most_common(1)[0][0]
        file, reason = next(outcome.refused[0] for outcome in failed if outcome.fix == fix)
        raise UserError(f"{what}, for example {file}: {reason}; nothing was written", fix)

    def imported(self, missed: list[str], extra: int, written: Path) -> Imported:
        """Return what the import did."""
        return Imported(self.taken, missed, self.refused, extra, written, dict(sorted(self.notes.items())))
