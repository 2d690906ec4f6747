"""Opening every file of data/ that an earlier check has not seen, by many processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from joblib import Parallel, delayed

from seedbed.intake.facts import Facts, Kind, look_at
from seedbed.intake.inventory import Stamp
from seedbed.intake.memory import Memory
from seedbed.progress import Meter

_CHUNK = 64
"""Files that a process opens before it reports."""


def inspect(
    root: Path, files: Mapping[str, Stamp], kinds: Mapping[str, Kind], memory: Memory, jobs: int
) -> dict[str, Facts]:
    """Return the facts of all `files` below `root`, opened as `kinds` says (else only hashed), by `jobs` processes.

    Files that `memory` knows unchanged are not opened; it learns the others while the work goes on.
    """
    known = memory.recall(files, kinds)
    work: list[tuple[str, Kind]] = [(name, kinds.get(name, "other")) for name in files if name not in known]
    with Meter("check data", len(files), unit="files", done=len(known)) as meter:
        for chunk, seen in _looked(root, work, jobs):
            memory.keep((name, kind, files[name], facts) for (name, kind), facts in zip(chunk, seen, strict=True))
            known |= {name: facts for (name, _), facts in zip(chunk, seen, strict=True)}
            meter.advance(len(chunk))
    return {name: known[name] for name in files}


def _looked(
    root: Path, work: Sequence[tuple[str, Kind]], jobs: int
) -> Iterator[tuple[Sequence[tuple[str, Kind]], list[Facts]]]:
    """Yield chunks of `work` and their facts, in order."""
    chunks = [work[start : start + _CHUNK] for start in range(0, len(work), _CHUNK)]
    seen = Parallel(n_jobs=min(jobs, max(len(chunks), 1)), return_as="generator")(
        delayed(look_at)(root, chunk) for chunk in chunks
    )
    return zip(chunks, seen, strict=True)
