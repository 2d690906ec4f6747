"""Putting the files of an archive, or of a folder unpacked by hand, where the layout wants them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from seedbed.acquire.members import ExtractLimits, Member, RefusedError, open_archive, safe_path
from seedbed.acquire.meter import ByteMeter
from seedbed.errors import UserError
from seedbed.files import disk_errors

__all__ = ["ExtractLimits", "Extracted", "Rule", "extract", "lay"]

USUAL = ExtractLimits()
_CLUTTER = re.compile(r"(.*/)?(__MACOSX(/.*)?|\.DS_Store|\._[^/]*|Thumbs\.db)")
"""What file managers leave behind; it is not even counted."""
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}


@dataclass(frozen=True)
class Rule:
    r"""Files whose whole path in the archive matches `pattern` go to `to`, in which `\1`, `\g<id>` are its groups.

    Raises ValueError for a pattern that is none.
    """

    pattern: str
    to: str

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"'{self.pattern}' is no regular expression: {error}") from None

    def place(self, path: str) -> str | None:
        """Return where the file at `path` goes, None when the rule is not about it."""
        match = re.fullmatch(self.pattern, path)
        try:
            return match.expand(self.to) if match else None
        except (re.error, IndexError) as error:
            raise UserError(f"the place '{self.to}' does not fit the pattern '{self.pattern}': {error}") from None


@dataclass(frozen=True)
class Extracted:
    """What of an archive or a folder lies in its places."""

    files: int
    bytes: int
    skipped: int
    """Files that no rule is about."""


@dataclass
class _Plan:
    """Decides where below `target` files go; the first rule that is about a file decides. No two go to one place."""

    target: Path
    layout: Sequence[Rule]
    skipped: int = 0
    _taken: dict[str, str] = field(default_factory=dict)
    """Place -> the file that goes there."""
    _folders: dict[str, str] = field(default_factory=dict)
    """Folder -> a file that goes below it."""

    def place(self, path: str) -> Path | None:
        """Return where the file at `path` goes, None when no rule is about it. Raises RefusedError for a collision."""
        if _CLUTTER.fullmatch(path):
            return None
        to = next((to for rule in self.layout if (to := rule.place(path)) is not None), None)
        if to is None:
            self.skipped += 1
            return None
        goal = safe_path(to)
        if goal is None or not goal.parts or not to.isprintable() or not _fits(goal):
            raise RefusedError(path, f"it would go to {to!r}")
        self._claim(path, goal)
        return self.target / goal

    def _claim(self, path: str, goal: PurePosixPath) -> None:
        folders = [str(folder) for folder in goal.parents[:-1]]
        places = [self._taken.get(str(goal)), self._folders.get(str(goal)), *map(self._taken.get, folders)]
        for other in filter(None, places):
            raise RefusedError(path, f"it would go to {goal}, where {other!r} goes")
        self._taken[str(goal)] = path
        self._folders.update(dict.fromkeys(folders, path))


def extract(
    archive: Path,
    target: Path,
    layout: Sequence[Rule],
    limits: ExtractLimits = USUAL,
    progress: bool = False,
) -> Extracted:
    """Put the members of a tar, a gzipped tar or a zip that `layout` is about where it wants them, below `target`.

    Every file appears whole or not at all, and one that is there with the member's size is passed over, so that a
    killed extraction goes on. Raises UserError, with the member named, when the archive holds anything but files and
    folders inside itself, more than `limits`, two files for one place, or is damaged; a zip is judged before its first
    byte is written, of a tar the members before the refused one are written.
    """
    plan, files, size = _Plan(target, layout), 0, 0
    with open_archive(archive, limits) as opened, ByteMeter(archive.name, enabled=progress) as meter:
        pairs: Iterable[tuple[Member, Path | None]] = ((member, plan.place(member.name)) for member in opened.members())
        if opened.listed:
            pairs = list(pairs)
        inside = _Inside(target)
        meter.begin(0, opened.size)
        for member, path in pairs:
            if path is not None:
                inside.make_folder(path.parent, member.name)
                if not _is_there(path, member.size):
                    _write(path, member.chunks())
                files, size = files + 1, size + member.size
            meter.at(opened.position)
    return Extracted(files, size, plan.skipped)


def lay(folder: Path, target: Path, layout: Sequence[Rule]) -> Extracted:
    """Put the files of `folder` that `layout` is about where it wants them, below `target`, as `extract` does.

    They become hard links where the file system can, else copies. Raises UserError for symbolic links and for anything
    else in `folder` that is neither file nor folder, and for two files for one place; nothing is placed then.
    """
    plan, size = _Plan(target, layout), 0
    try:
        pairs = [(file, path) for file in _walk(folder) if (path := plan.place(file.relative_to(folder).as_posix()))]
        inside = _Inside(target)
        for file, path in pairs:
            inside.make_folder(path.parent, str(file))
            found = file.stat().st_size
            size += found
            if not _is_there(path, found):
                _link(file, path)
    except RefusedError as error:
        raise UserError(f"{folder} is refused: {error}") from None
    return Extracted(len(pairs), size, plan.skipped)


def _fits(goal: PurePosixPath) -> bool:
    """Return whether file systems take the path and, for each name, the temporary one (Linux: 4096 and 255 bytes)."""
    return len(bytes(goal)) < 2048 and all(len(part.encode()) <= 240 for part in goal.parts)


def _walk(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    for entry in sorted(folder.iterdir()):
        mode = entry.lstat().st_mode
        if stat.S_ISDIR(mode):
            yield from _walk(entry)
        elif stat.S_ISREG(mode):
            yield entry
        else:
            raise RefusedError(str(entry), "it is neither file nor folder (links are refused)")


@dataclass(frozen=True)
class _Inside:
    """Makes folders, and sees to it that no symbolic link on the way leads out of `target`."""

    target: Path
    _known: set[Path] = field(default_factory=set)

    def make_folder(self, folder: Path, member: str) -> None:
        if folder in self._known:
            return
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if not folder.resolve().is_relative_to(self.target.resolve()):
            raise RefusedError(member, f"{folder} leads out of {self.target}")
        self._known.add(folder)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == size


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    # The name is always the same one, so that a continued extraction leaves nothing of the killed one behind.
    temporary = path.with_name(f".{path.name}.part")
    with disk_errors(path):
        temporary.unlink(missing_ok=True)
        try:
            with temporary.open("xb") as stream:
                for chunk in chunks:
                    stream.write(chunk)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _link(source: Path, path: Path) -> None:
    path.unlink(missing_ok=True)
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        temporary = path.with_name(f".{path.name}.part")
        with disk_errors(path):
            shutil.copyfile(source, temporary)
            temporary.replace(path)
