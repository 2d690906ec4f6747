"""Whether a data set is complete: the counts that its entry in the catalogue expects, and what lacks where."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

from seedbed.acquire.manifest import sizes

_NAMED = 3  # ids that are named of each place that lacks some


def count(tree: Path, expected: Mapping[str, int]) -> dict[str, int]:
    """Return, for each place in `expected`, how many files the folder holds, or how many lines the list."""
    return {place: len(_names(tree / place)) for place in expected}


def findings(tree: Path, expected: Mapping[str, int]) -> list[str]:
    """Return in words where `tree` has other counts than `expected`, and the first ids that one place lacks."""
    found = count(tree, expected)
    wrong = [
        f"{place} holds {found[place]:,}, expected {number:,}"
        for place, number in expected.items()
        if found[place] != number
    ]
    return wrong + _lacking(tree, expected) if wrong else []


def _lacking(tree: Path, expected: Mapping[str, int]) -> list[str]:
    """Name the ids without a partner: folders of one size hold the same ids, and a list is of ids in larger folders."""
    ids = {place: {Path(name).stem for name in _names(tree / place)} for place in expected}
    lines = []
    for one, other in permutations(expected, 2):
        related = expected[one] <= expected[other] if _is_list(one) else expected[one] == expected[other]
        lacking = sorted(ids[one] - ids[other]) if related and not _is_list(other) else []
        if lacking:
            more = f" and {len(lacking) - _NAMED:,} more" if len(lacking) > _NAMED else ""
            lines.append(f"{other} lacks {', '.join(lacking[:_NAMED])}{more} of {one}")
    return lines


def _is_list(place: str) -> bool:
    return place.endswith(".txt")


def _names(path: Path) -> list[str]:
    """Return the names of the files in a folder, or the lines of a list."""
    if _is_list(path.name):
        return [line for line in path.read_text().splitlines() if line.strip()] if path.is_file() else []
    return list(sizes(path))
