"""Making folders of real data the project's `data/`, recorded by DVC."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seedbed.errors import UserError
from seedbed.files import disk_errors
from seedbed.intake.changing import changing, complete, fresh_folder, swap_in
from seedbed.intake.dvc import Cache, run_dvc
from seedbed.intake.inventory import list_files
from seedbed.intake.record import kept, record, recorded, tracked_hash
from seedbed.trees import check_space, counted, existing, link_or_copy


@dataclass(frozen=True)
class Use:
    """What `use_data` did."""

    files: int
    bytes: int
    replaced: bool
    """Whether there was another data/ before; it stays in DVC's cache, under the hash of the old data.dvc."""


def use_data(sources: Sequence[Path], repo: Path) -> Use:
    """Lay the folders `sources` together as data/ of `repo`, and record them, by their names, in data.dvc.

    Two of them may hold the same file, but not two files for one place; a folder given twice counts once. Files become
    hard links or reflinks where the file system can, else copies; then DVC copies them into its cache and links data/
    to that (cache.type in .dvc/config), so that the sources stay the user's own. The old data/ goes only when the new
    one is complete and recorded; that of a process that is killed before comes back with the next command.
    Raises UserError for what DVC cannot record (symbolic links, pipes, odd names), for files that contradict each
    other, for a lack of space, for a data/ with content that data.dvc does not record, when another command changes
    data/, and when DVC fails; data/ is then as it was.
    """
    repo = repo.absolute()
    target = repo / "data"
    unique: dict[Path, Path] = {}
    for source in sources:
        unique.setdefault(source.resolve(), source.absolute())
    sources = list(unique.values())
    files = _lay_together(sources, target)
    with disk_errors(target), changing(repo):
        _check_space(files, repo)
        replaced = _keep_old(target)
        for place, path in files.items():
            fresh = fresh_folder(repo) / place
            fresh.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(path, fresh)
        swap_in(repo)
        _record(target, [source.name for source in sources], len(files))
        complete(repo)
    return Use(len(files), _size(files.values()), replaced)


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
    found = [source / name for name in list_files(source)]
    if not found:
        raise UserError(f"{source} holds no files")
    return found


def _check_space(files: Mapping[Path, Path], repo: Path) -> None:
    """Raise UserError when there is no room for what DVC's cache lacks of `files`, or for copies of them in data/."""
    cache, agreed = Cache(repo), recorded(repo)
    listing = (agreed.listing() if agreed else None) or {}
    lacking = _size(path for place, path in files.items() if not _is_held(cache, listing.get(place.as_posix()), path))
    here, there = (existing(folder).stat().st_dev for folder in (repo, cache.folder))
    copies = _size(path for path in files.values() if path.stat().st_dev != here)
    if here == there:
        check_space(repo, copies + lacking, "DVC's cache and a copy" if copies else "DVC's cache")
    else:
        check_space(cache.folder, lacking, "DVC's cache")
        check_space(repo, copies, "a copy of the data")


def _is_held(cache: Cache, md5: str | None, path: Path) -> bool:
    """Return whether the cache has a file `md5` of the size of `path`: near enough to say what room is needed."""
    held = cache.place(md5) if md5 else None
    return held is not None and held.is_file() and held.stat().st_size == path.stat().st_size


def _size(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


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


def _record(target: Path, sources: Sequence[str], count: int) -> None:
    """Record `target`, which holds `count` files of `sources`. Raises UserError unless DVC has recorded them all."""
    listing = record(target.parent, sources).listing() or {}
    if len(listing) != count:
        raise UserError(
            f"DVC recorded {len(listing)} of {counted(count, 'file')}; the others match a pattern in .dvcignore",
            "rename them, or remove the pattern",
        )
