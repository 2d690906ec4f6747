"""What Seedbed asks of DVC: to record data/, to check it out, and where the recorded content lies."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from seedbed.errors import UserError


def is_tracked(repo: Path) -> bool:
    """Return whether `repo` is a DVC repository."""
    return (repo / ".dvc").is_dir()


def run_dvc(repo: Path, *words: str, given: str | None = None, ok: tuple[int, ...] = (0,)) -> str:
    """Run DVC in `repo` with `given` as its input and return what it printed.

    Raises UserError with the end of its output when it ends with a status that is not `ok`.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=repo,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in ok:
        output = (done.stderr or done.stdout).strip()[-600:]
        raise UserError(f"`dvc {' '.join(words)}` failed: {output}", f"cd {repo} && dvc {' '.join(words)}")
    return done.stdout


class Cache:
    """The content that DVC keeps for `repo`, wherever its configuration puts it: one file per MD5."""

    def __init__(self, repo: Path) -> None:
        self.folder = Path(run_dvc(repo, "cache", "dir").strip()) / "files" / "md5"

    def place(self, md5: str) -> Path:
        """Return the file that holds the content `md5`."""
        return self.folder / md5[:2] / md5[2:]

    def listing(self, tree: str) -> dict[str, str] | None:
        """Return path -> MD5 of the folder recorded as `tree` (`<md5>.dir`); None where the cache lacks it."""
        place = self.place(tree)
        if not self.holds(tree):
            return None
        return {entry["relpath"]: entry["md5"] for entry in json.loads(place.read_bytes())}

    def holds(self, md5: str) -> bool:
        """Return whether the content `md5` is here and intact, by reading it: DVC trusts any read-only file."""
        try:
            return md5_of(self.place(md5)) == md5.removesuffix(".dir")
        except FileNotFoundError:
            return False

    def drop_damaged(self, md5s: Iterable[str]) -> set[str]:
        """Return those of `md5s` whose content is missing or damaged, after removing what is damaged.

        Files of data/ may be hard links to the cache: who writes into one changes both. DVC would go on to check out
        the damaged content, and would push it; of missing content it knows that it must be fetched.
        """
        wanted = sorted(set(md5s))
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            lost = {md5 for md5, intact in zip(wanted, pool.map(self.holds, wanted), strict=True) if not intact}
        for md5 in lost:
            self.place(md5).unlink(missing_ok=True)
        return lost


def md5_of(path: Path) -> str:
    """Return the MD5 of the content of `path`, as DVC has it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def hash_files(folder: Path) -> dict[str, str]:
    """Return path -> MD5 of every file below `folder`, which may be missing."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(names, pool.map(lambda name: md5_of(folder / name), names), strict=True))


def tree_of(digests: Mapping[str, str]) -> str:
    """Return what DVC records for a folder with the files `digests`, path -> MD5: `<md5>.dir`."""
    entries = [{"md5": digests[path], "relpath": path} for path in sorted(digests)]
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"
