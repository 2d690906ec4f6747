"""Putting the files of an archive, or of a folder unpacked by hand, where the layout wants them."""

from __future__ import annotations

import filecmp
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from seedbed.acquire.members import ExtractLimits, Member, RefusedError, open_archive, safe_path
from seedbed.acquire.meter import ByteMeter
from seedbed.acquire.streams import CHUNK
from seedbed.errors import UserError
from seedbed.files import disk_errors
from seedbed.trees import Entry, is_clutter, link_or_copy

__all__ = ["ExtractLimits", "Extracted", "Rule", "extract", "lay", "list_members", "place_of"]

USUAL = ExtractLimits()


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


def place_of(path: str, layout: Sequence[Rule]) -> str | None:
    """Return where the first rule that is about the file at `path` puts it, None when none is about it."""
    if any(map(is_clutter, path.split("/"))):
        return None
    return next((to for rule in layout if (to := rule.place(path)) is not None), None)


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
        to = place_of(path, self.layout)
        if to is None:
            self.skipped += not any(map(is_clutter, path.split("/")))  # which nobody misses
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

    Every file appears whole or not at all, and one that is there with the member's size (and, in a zip, checksum) is
    passed over, so that a killed extraction goes on. Raises UserError, with the member named, when the archive holds
    anything but files and folders inside itself, more than `limits`, two files for one place, or is damaged; a zip is
    judged before its first byte is written, of a tar the members before the refused one are written.
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
                if not _is_there(path, member):
                    _write(path, member.chunks())
                files, size = files + 1, size + member.size
            meter.at(opened.position)
    return Extracted(files, size, plan.skipped)


def list_members(archive: Path, limits: ExtractLimits) -> list[Entry]:
    """Return the files in `archive`, judged as `extract` does. Nothing is written."""
    with open_archive(archive, limits) as opened:
        return [Entry(member.name, "file", member.size, 0, 0, 0) for member in opened.members()]


def lay(folder: Path, entries: Iterable[Entry], target: Path, layout: Sequence[Rule]) -> Extracted:
    """Put those of the `entries` of `folder` that `layout` is about where it wants them, below `target`, as `extract`.

    They become hard links where the file system can, else copies. Raises UserError for two files for one place, and for
    symbolic links, devices and odd names that a rule is about; nothing is placed then.
    """
    plan, size = _Plan(target, layout), 0
    try:
        pairs = [(entry, path) for entry in entries if (path := plan.place(entry.path))]
        for entry, _ in pairs:
            if entry.kind != "file":
                raise RefusedError(entry.path, "it is a link or a device, or its name is none")
        inside = _Inside(target)
        for entry, path in pairs:
            inside.make_folder(path.parent, entry.path)
            size += entry.size
            _link(folder / entry.path, path)
    except RefusedError as error:
        raise UserError(
            f"{folder} is refused: {error}", f"give a folder of plain files (cp -rL {folder} COPY)"
        ) from None
    return Extracted(len(pairs), size, plan.skipped)


def _fits(goal: PurePosixPath) -> bool:
    """Return whether file systems take the path and, for each name, the temporary one (Linux: 4096 and 255 bytes)."""
    return len(bytes(goal)) < 2048 and all(len(part.encode()) <= 240 for part in goal.parts)


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


def _is_there(path: Path, member: Member) -> bool:
    """Return whether `path` is the member; where power was lost, a file of its size may be full of zeros."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != member.size:
        return False
    return member.crc is None or member.crc == _crc(path)


def _crc(path: Path) -> int:
    crc = 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    temporary = _temporary(path)
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
    if path.is_file() and not path.is_symlink() and (path.samefile(source) or filecmp.cmp(path, source, shallow=False)):
        return
    temporary = _temporary(path)
    temporary.unlink(missing_ok=True)
    link_or_copy(source, temporary)
    temporary.replace(path)


def _temporary(path: Path) -> Path:
    # The name is always the same one, so that a continued extraction leaves nothing of the killed one behind.
    return path.with_name(f".{path.name}.part")
