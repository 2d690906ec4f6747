"""What Seedbed asks of DVC: to record data/, to check it out, and where the recorded content lies."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from seedbed import trees
from seedbed.errors import UserError


def is_tracked(repo: Path) -> bool:
    """Return whether `repo` is a DVC repository."""
    return (repo / ".dvc").is_dir()


def require_dvc(repo: Path) -> None:
    """Raise UserError unless `repo` is a DVC repository."""
    if not is_tracked(repo):
        raise UserError(f"{repo.absolute()} is no DVC repository; data/ is recorded in one", "git init && dvc init")


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
        close_fds=False,  # it holds the lock on data/ too (trees.alone), should this process be killed before it
    )
    if done.returncode not in ok:
        output = (done.stderr or done.stdout).strip()[-600:]
        if "is not a git repository" in output:
            raise UserError(f"{repo.absolute()} is a DVC repository without git, which DVC needs", "git init")
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
        return not self._lost({md5})

    def _lost(self, md5s: Iterable[str]) -> set[str]:
        """Return those of `md5s` whose content is missing or damaged."""
        wanted = set(md5s)
        here = [md5 for md5 in sorted(wanted) if self.place(md5).is_file()]
        found = zip(here, trees.hash_files(map(self.place, here), "md5"), strict=True)
        return wanted - {md5 for md5, digest in found if digest == md5.removesuffix(".dir")}

    def drop_damaged(self, md5s: Iterable[str]) -> set[str]:
        """Return those of `md5s` whose content is missing or damaged, after removing what is damaged.

        Files of data/ may be hard links to the cache: who writes into one changes both. DVC would go on to check out
        the damaged content, and would push it; of missing content it knows that it must be fetched.
        """
        lost = self._lost(md5s)
        for md5 in lost:
            self.place(md5).unlink(missing_ok=True)
        return lost


def hash_folder(folder: Path) -> dict[str, str]:
    """Return path -> MD5 of every file below `folder`, which may be missing."""
    names = [one.path for one in trees.walk(folder) if one.kind == "file"]
    return dict(zip(names, trees.hash_files((folder / name for name in names), "md5"), strict=True))


def tree_of(digests: Mapping[str, str]) -> str:
    """Return what DVC records for a folder with the files `digests`, path -> MD5: `<md5>.dir`."""
    entries = [{"md5": digests[path], "relpath": path} for path in sorted(digests)]
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"
