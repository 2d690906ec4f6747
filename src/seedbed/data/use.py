"""Making a folder of real data the project's `data/`, recorded by DVC."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from seedbed.data.check import symlinks
from seedbed.errors import UserError
from seedbed.files import disk_errors

_FICLONE = 0x40049409
"""Linux: share the blocks of another file (reflink)."""
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}
_NO_REFLINK = {errno.EXDEV, errno.ENOTSUP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}


@dataclass(frozen=True)
class Use:
    """What `use_data` did."""

    files: int
    bytes: int
    how: str
    """hard link, reflink or copy."""
    replaced: bool
    """Whether there was another data/ before; it stays in DVC's cache, under the hash of the old data.dvc."""


def use_data(source: Path, repo: Path) -> Use:
    """Make `source` the folder data/ of `repo` and record it in data.dvc.

    Files become hard links or reflinks where the file system can, else copies; then DVC copies them into its cache and
    links data/ to that (cache.type in .dvc/config), so that `source` stays the user's own. The old data/ goes only when
    the new one is complete and recorded.
    Raises UserError for symbolic links (of what they point to, DVC records nothing), for a lack of space, for a data/
    with content that data.dvc does not record, and when DVC fails; data/ is then as it was.
    """
    source, target = source.absolute(), repo.absolute() / "data"
    files = _list_files(source, target)
    size = sum(path.stat().st_size for path in files)
    how = _linker(files[0], target.parent)
    _check_space(size, target.parent, copies=how == "copy")
    replaced = _keep_old(target)
    with disk_errors(target), tempfile.TemporaryDirectory(prefix=".data.", dir=target.parent) as folder:
        fresh = Path(folder) / "fresh"
        for path in files:
            place = fresh / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            _LINKERS[how](path, place)
        with _swapped(fresh, target, Path(folder) / "old"):
            _record(target, len(files))
    return Use(len(files), size, how, replaced)


def _list_files(source: Path, target: Path) -> list[Path]:
    if not source.is_dir():
        raise UserError(f"{source} is not a folder", "seedbed data use PATH, with a folder in VOC layout")
    if source.is_symlink():
        raise UserError(
            f"{source} is a symbolic link; DVC refuses linked folders", f"seedbed data use {source.resolve()}"
        )
    if target.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(target.resolve()):
        raise UserError(f"{source} and {target} lie inside each other", "move the data out of the repository first")
    links = symlinks(source)
    if links:
        raise UserError(
            f"{source} holds {len(links)} symbolic links, the first is {links[0]}; "
            "of what they point to, DVC would record nothing",
            f"cp -rL {source} NEW_FOLDER, then seedbed data use NEW_FOLDER",
        )
    files = sorted(path for path in source.rglob("*") if path.is_file())
    if not files:
        raise UserError(f"{source} holds no files")
    return files


def _reflink(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())


_LINKERS: dict[str, Callable[[Path, Path], object]] = {
    "hard link": os.link,
    "reflink": _reflink,
    "copy": shutil.copyfile,
}


def _linker(sample: Path, folder: Path) -> str:
    """Return the cheapest way that works from where `sample` lies to `folder`: a key of _LINKERS."""
    with tempfile.TemporaryDirectory(prefix=".data.", dir=folder) as trial:
        for how, refusals in (("hard link", _NO_LINK), ("reflink", _NO_REFLINK)):
            try:
                _LINKERS[how](sample, Path(trial) / how)
                return how
            except OSError as error:
                if error.errno not in refusals:
                    raise
    return "copy"


def _check_space(size: int, folder: Path, copies: bool) -> None:
    """Raise UserError when there is no room for DVC's cache and, where files are copied, for the copies."""
    needed, free = size * (2 if copies else 1), shutil.disk_usage(folder).free
    purpose = "DVC's cache and a copy" if copies else "DVC's cache"
    if needed > free:
        raise UserError(
            f"not enough space in {folder}: {needed / 1e9:.2f} GB needed for {purpose}, {free / 1e9:.2f} GB free",
            f"free some space (df -h {folder})",
        )


def _keep_old(target: Path) -> bool:
    """Return whether there is a data/ to replace, after making sure that DVC's cache has all of it."""
    if target.is_symlink():
        raise UserError(f"{target} is a symbolic link", f"rm {target}")
    if not target.exists() or not any(target.iterdir()):
        return False
    record = target.with_suffix(".dvc")
    before = record.read_text() if record.exists() else None
    if before is not None:
        _dvc(target.parent, "add", "data")
        if record.read_text() == before:
            return True
        record.write_text(before)
    raise UserError(
        f"{target} holds content that data.dvc does not record; replacing it would lose that",
        f"move {target} elsewhere, or record it with `dvc add data` and commit data.dvc",
    )


@contextlib.contextmanager
def _swapped(fresh: Path, target: Path, old: Path) -> Iterator[None]:
    """Put `fresh` in the place of `target`, and the former back when the body fails."""
    if target.exists():
        target.rename(old)
    record = target.with_suffix(".dvc")
    before = record.read_text() if record.exists() else None
    fresh.rename(target)
    try:
        yield
    except BaseException:
        target.rename(fresh)
        if old.exists():
            old.rename(target)
        if before is None:
            record.unlink(missing_ok=True)
        else:
            record.write_text(before)
        raise


def _record(target: Path, count: int) -> None:
    """Run `dvc add` on `target`; raise UserError unless it recorded `count` files."""
    _dvc(target.parent, "add", "data")
    recorded = yaml.safe_load(target.with_suffix(".dvc").read_text())["outs"][0].get("nfiles")
    if recorded != count:
        raise UserError(
            f"DVC recorded {recorded} of {count} files; the others match a pattern in .dvcignore",
            "rename them, or remove the pattern",
        )


def _dvc(repo: Path, *words: str) -> None:
    """Run DVC in `repo`. Raises UserError with the end of its output when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=repo,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        output = (done.stderr or done.stdout).strip()[-600:]
        raise UserError(f"`dvc {' '.join(words)}` failed: {output}", f"cd {repo} && dvc {' '.join(words)}")
