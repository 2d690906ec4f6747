"""Making folders of real data the project's `data/`, recorded by DVC."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seedbed.errors import UserError
from seedbed.files import disk_errors
from seedbed.intake.dvc import run_dvc
from seedbed.intake.inventory import take_inventory
from seedbed.intake.record import kept, record, tracked_hash

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


def use_data(sources: Sequence[Path], repo: Path) -> Use:
    """Lay the folders `sources` together as data/ of `repo`, and record them, by their names, in data.dvc.

    Two of them may hold the same file, but not two files for one place. Files become hard links or reflinks where the
    file system can, else copies; then DVC copies them into its cache and links data/ to that (cache.type in
    .dvc/config), so that the sources stay the user's own. The old data/ goes only when the new one is complete and
    recorded.
    Raises UserError for symbolic links (of what they point to, DVC records nothing), for files that contradict each
    other, for a lack of space, for a data/ with content that data.dvc does not record, and when DVC fails; data/ is
    then as it was.
    """
    sources, target = [source.absolute() for source in sources], repo.absolute() / "data"
    files = _lay_together(sources, target)
    size = sum(path.stat().st_size for path in files.values())
    how = _linker(list(files.values()), target.parent)
    _check_space(size, target.parent, copies=how == "copy")
    replaced = _keep_old(target)
    with disk_errors(target), tempfile.TemporaryDirectory(prefix=".data.", dir=target.parent) as folder:
        fresh = Path(folder) / "fresh"
        for name, path in files.items():
            place = fresh / name
            place.parent.mkdir(parents=True, exist_ok=True)
            _LINKERS[how](path, place)
        with _swapped(fresh, target, Path(folder) / "old"):
            _record(target, [source.name for source in sources], len(files))
    return Use(len(files), size, how, replaced)


def _lay_together(sources: Sequence[Path], target: Path) -> dict[Path, Path]:
    """Return place below data/ -> file for all files of `sources`, sorted."""
    files: dict[Path, Path] = {}
    for source in sources:
        for path in _list_files(source, target):
            place = path.relative_to(source)
            other = files.setdefault(place, path)
            if other != path and not filecmp.cmp(other, path, shallow=False):
                raise UserError(
                    f"{other} and {path} differ, but both would become data/{place}",
                    "leave one of the two sources out, or remove one of the files",
                )
    _refuse_files_as_folders(files)
    return dict(sorted(files.items()))


def _refuse_files_as_folders(files: Mapping[Path, Path]) -> None:
    for place, path in files.items():
        for parent in place.parents:
            if parent in files:
                raise UserError(
                    f"{files[parent]} is a file, but {path} needs a folder of that name",
                    "leave one of the two sources out",
                )


def _list_files(source: Path, target: Path) -> list[Path]:
    if not source.is_dir():
        raise UserError(f"{source} is not a folder", "seedbed data use PATH, with a folder in VOC layout")
    if source.is_symlink():
        raise UserError(
            f"{source} is a symbolic link; DVC refuses linked folders", f"seedbed data use {source.resolve()}"
        )
    if target.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(target.resolve()):
        raise UserError(f"{source} and {target} lie inside each other", "move the data out of the repository first")
    found = take_inventory(source)
    if found.links:
        raise UserError(
            f"{source} holds {len(found.links)} symbolic links, the first is {source / found.links[0]}; "
            "of what they point to, DVC would record nothing",
            f"cp -rL {source} NEW_FOLDER, then seedbed data use NEW_FOLDER",
        )
    if not found.files:
        raise UserError(f"{source} holds no files")
    return [source / name for name in found.files]


def _reflink(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())


_LINKERS: dict[str, Callable[[Path, Path], object]] = {
    "hard link": os.link,
    "reflink": _reflink,
    "copy": shutil.copyfile,
}


def _linker(files: Sequence[Path], folder: Path) -> str:
    """Return the cheapest way that works from where all `files` lie to `folder`: a key of _LINKERS."""
    samples = {path.stat().st_dev: path for path in files}.values()
    with tempfile.TemporaryDirectory(prefix=".data.", dir=folder) as trial:
        for how, refusals in (("hard link", _NO_LINK), ("reflink", _NO_REFLINK)):
            try:
                for number, sample in enumerate(samples):
                    _LINKERS[how](sample, Path(trial) / f"{how} {number}")
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
    with kept(target.parent):
        before = tracked_hash(target.parent)
        if before is not None:
            run_dvc(target.parent, "add", "data")
        if before is None or tracked_hash(target.parent) != before:
            raise UserError(
                f"{target} holds content that data.dvc does not record; replacing it would lose that",
                f"move {target} elsewhere, or record it with `seedbed data commit` and commit data.dvc",
            )
    return True


@contextlib.contextmanager
def _swapped(fresh: Path, target: Path, old: Path) -> Iterator[None]:
    """Put `fresh` in the place of `target`, and the former, with its data.dvc, back when the body fails."""
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    try:
        with kept(target.parent):
            yield
    except BaseException:
        target.rename(fresh)
        if old.exists():
            old.rename(target)
        raise


def _record(target: Path, sources: Sequence[str], count: int) -> None:
    """Record `target`, which holds `count` files of `sources`. Raises UserError unless DVC has recorded them all."""
    listing = record(target.parent, sources).listing() or {}
    if len(listing) != count:
        raise UserError(
            f"DVC recorded {len(listing)} of {count} files; the others match a pattern in .dvcignore",
            "rename them, or remove the pattern",
        )
