"""Changing data/: by one command at a time, and whole or not at all, also for one that is killed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seedbed.files import write_bytes
from seedbed.intake.dvc import require_dvc
from seedbed.paths import Paths
from seedbed.trees import alone

logger = logging.getLogger(__name__)


@contextmanager
def changing(repo: Path) -> Iterator[None]:
    """Hold data/ and data.dvc of `repo` for this process; undo a swap that was not completed.

    That is one inside the body, when it fails, and one of a process that was killed. Raises UserError when another
    process holds them, and where there is no DVC to record anything.
    """
    require_dvc(repo)
    with alone(_work(repo).parent, f"another command is changing {repo.absolute() / 'data'}"):
        if _put_back(repo):
            logger.info("a `seedbed data use` was killed: data/ is again as it was before it")
        try:
            yield
        finally:
            _put_back(repo)


def fresh_folder(repo: Path) -> Path:
    """Return where a new data/ is made: not seen by git and DVC, on the disk of data/, cleared by the next command."""
    return _work(repo) / "fresh"


def swap_in(repo: Path) -> None:
    """Put the new data/ of `fresh_folder` in the place of data/, inside `changing`; `complete` makes it stay."""
    paths, before = Paths(repo), _work(repo) / "before"
    before.mkdir()
    if paths.data_record.exists():
        write_bytes(before / "data.dvc", paths.data_record.read_bytes())
    if paths.data.exists():
        paths.data.rename(before / "data")
    fresh_folder(repo).rename(paths.data)


def complete(repo: Path) -> None:
    """Forget the former data/ and data.dvc."""
    work = _work(repo)
    if (work / "before").exists():
        (work / "before").rename(work / "gone")  # at once: what is half removed must not come back
    if work.exists():
        shutil.rmtree(work)


def _work(repo: Path) -> Path:
    return repo / ".seedbed" / "data" / "use"


def _put_back(repo: Path) -> bool:
    """Undo a swap that was begun and not completed, step by step so that this may be killed too; say if there was one.

    As long as the new data/ is in its folder, data/ is not it: it is the old one, or one that was made since by other
    means. Then it stays; DVC's cache has the old one.
    """
    paths, before, fresh = Paths(repo), _work(repo) / "before", fresh_folder(repo)
    begun = before.exists()
    if begun and not fresh.exists():
        if (before / "data.dvc").exists():
            write_bytes(paths.data_record, (before / "data.dvc").read_bytes())
        else:
            paths.data_record.unlink(missing_ok=True)
        if paths.data.exists():
            paths.data.rename(fresh)
    if not paths.data.exists() and (before / "data").exists():
        (before / "data").rename(paths.data)
    complete(repo)
    return begun
