"""The record of data/: which content a user has agreed to.

`dvc repro` takes any change of data/ into data.dvc without a word. So the hash that was agreed to stands in data.dvc a
second time, in its `meta`, which DVC leaves alone:

    meta:
      seedbed:
        data: <MD5>.dir
        sources: [voc12, sbd]

`seedbed data use`, `commit`, `sample` and `seedbed import` write it; the check compares.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from seedbed.errors import UserError
from seedbed.files import write_bytes, write_text
from seedbed.intake.changing import changing
from seedbed.intake.dvc import Cache, hash_folder, is_tracked, run_dvc, tree_of
from seedbed.intake.inventory import list_files
from seedbed.paths import Paths
from seedbed.trees import Differences, compare, counted

logger = logging.getLogger(__name__)

RESTORE = "`seedbed data restore` puts the recorded data back; `seedbed data commit` records data/ as it is now"
_FETCH = (
    "where a DVC remote has them: `dvc fetch data.dvc`, then `seedbed data restore`; else move data/ away and run "
    "`seedbed data use` on the sources again"
)
_AGAIN = "`git checkout HEAD data.dvc` takes the committed one"
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})", re.MULTILINE)


@dataclass(frozen=True)
class Record:
    """What a user has agreed to."""

    repo: Path
    data: str
    """Hash of data/ as DVC has it, `<MD5>.dir`."""
    sources: tuple[str, ...]
    """Where the data came from: data sets, folders, imports."""

    @cached_property
    def cache(self) -> Cache:
        """Where DVC keeps the recorded content."""
        return Cache(self.repo)

    def listing(self) -> dict[str, str] | None:
        """Return path -> MD5 of every recorded file; None where DVC's cache does not hold it."""
        return self.cache.listing(self.data) if is_tracked(self.repo) else None


@dataclass(frozen=True)
class Changes(Differences):
    """How data/ differs from its record."""

    listed: bool = True
    """False: something differs, but DVC's cache lacks the recorded listing, so that it cannot be named."""

    def __bool__(self) -> bool:
        return super().__bool__() or not self.listed

    def __str__(self) -> str:
        return super().__str__() if self.listed else "files unknown, for DVC's cache lacks the recorded listing"


def recorded(repo: Path) -> Record | None:
    """Return the record of data/ in `repo`; None where data.dvc is missing or says nothing of what was agreed to."""
    meta = _read(repo).get("meta")
    said = meta.get("seedbed") if isinstance(meta, dict) else None
    if not isinstance(said, dict) or not isinstance(said.get("data"), str):
        return None
    return Record(repo, said["data"], tuple(map(str, said.get("sources") or ())))


def tracked_hash(repo: Path) -> str | None:
    """Return the hash of data/ that data.dvc tracks, agreed to or not; None where there is no data.dvc."""
    content = _read(repo)
    return str(content["outs"][0]["md5"]) if content else None


def differences(record: Record, found: Mapping[str, str]) -> Changes:
    """Return how the files `found` in data/, path -> MD5, differ from `record`, but for what .dvcignore names."""
    if tree_of(found) == record.data:
        return Changes()
    listing = record.listing()
    return Changes(listed=False) if listing is None else _compare(record.repo, listing, found)


def record(repo: Path, sources: Sequence[str]) -> Record:
    """Record data/ as it is, of `sources`, inside `changing`.

    Raises UserError, data.dvc being as it was, for what DVC cannot record, and when DVC fails.
    """
    list_files(Paths(repo).data)
    with kept(repo):
        run_dvc(repo, "add", "data")
        done = Record(repo, tracked_hash(repo) or "", tuple(sources))
        _write(done, _read(repo))
        return done


def record_data(repo: Path, what: str, written: Path) -> None:
    """Record data/ after an import of `what` (added to the sources) has made the file or folder `written` below it.

    Outside a DVC repository there is no record to keep. Raises UserError, data.dvc being as it was, when data/ differs
    from its record in other files too: an import must not let such a change pass.
    """
    if not is_tracked(repo):
        logger.info("data/ is not tracked by DVC: %s is not recorded", what)
        return
    brought = written.relative_to(Paths(repo).data)
    with changing(repo), kept(repo):
        before = recorded(repo)
        after = record(repo, _with(before, what))
        changed = differences(before, _listed(after)) if before else Changes()
        other = [name for name in changed.files if not Path(name).is_relative_to(brought)]
        if other:
            raise UserError(
                f"data/ differs from its record in {counted(len(other), 'file')} that {what} has not brought, first "
                f"{other[0]}; what was imported lies in data/ but is not recorded",
                f"{RESTORE}; then import again",
            )


def adopt(repo: Path, source: str) -> None:
    """Write down that data/, of `source`, is agreed to, if data.dvc holds its hash and nothing was agreed to so far."""
    if not (is_tracked(repo) and Paths(repo).data_record.exists()):
        return
    with changing(repo):
        tracked = tracked_hash(repo)
        if recorded(repo) is None and tracked == tree_of(hash_folder(Paths(repo).data)):
            _write(Record(repo, tracked, (source,)), _read(repo))


def commit_data(repo: Path) -> Changes | None:
    """Record data/ as it is now and return what changed since the record; None where there was none."""
    with changing(repo):
        before = recorded(repo)
        after = record(repo, _with(before, "changed by hand"))
        if before is None:
            return None
        changed = differences(before, _listed(after))
        if not changed:
            _write(before, _read(repo))
        else:
            former = before.listing() or {}
            before.cache.drop_damaged(former[name] for name in (*changed.modified, *changed.missing))
        return changed


def restore_data(repo: Path) -> Changes:
    """Put data/ and data.dvc back to the record, and return what was different.

    Raises UserError when DVC's cache lacks recorded content, or holds it damaged (which it then drops): data/ is left
    as it is, and data.dvc names the recorded data, so that `dvc fetch` knows what to bring.
    """
    data = Paths(repo).data
    with changing(repo):
        agreed = recorded(repo)
        if agreed is None:
            raise UserError(
                "data.dvc does not say which data were agreed to", "git checkout HEAD data.dvc, then dvc checkout"
            )
        list_files(data)
        changed = _compare(repo, _complete_listing(agreed), hash_folder(data))
        for name in changed.modified:
            (data / name).unlink()  # DVC would keep a file whose time and size are those that it remembers
        run_dvc(repo, "checkout", "--force", "data.dvc")
        return changed


def _complete_listing(agreed: Record) -> Mapping[str, str]:
    """Return the listing of the record, all of it in DVC's cache, after making data.dvc name it."""
    listing = agreed.listing()
    lost = agreed.cache.drop_damaged(listing.values() if listing else [agreed.data])
    _point(agreed, None if lost else listing)
    if listing is None:
        raise UserError("DVC's cache lacks the listing of the recorded data", _FETCH)
    if lost:
        files = sorted(name for name, md5 in listing.items() if md5 in lost)
        what = counted(len(files), "file")
        raise UserError(
            f"DVC's cache lacks the recorded content of {what} (or held it damaged), first {files[0]}", _FETCH
        )
    return listing


def _point(record: Record, listing: Mapping[str, str] | None) -> None:
    """Make data.dvc name the recorded data; number and size of files are known where the `listing` is."""
    content = _read(record.repo)
    out = content["outs"][0]
    out["md5"] = record.data
    if listing is not None:
        out |= {"size": sum(record.cache.place(md5).stat().st_size for md5 in listing.values()), "nfiles": len(listing)}
    _write(record, content)


def _listed(fresh: Record) -> dict[str, str]:
    """Return the listing of a record just made. Raises UserError when DVC's cache has lost it since."""
    listing = fresh.listing()
    if listing is None:
        raise UserError(
            "DVC's cache lacks what DVC has just recorded", "see whether the folder of `dvc cache dir` is whole"
        )
    return listing


def _compare(repo: Path, listing: Mapping[str, str], found: Mapping[str, str]) -> Changes:
    plain = compare(listing, found)
    return Changes(plain.modified, plain.missing, tuple(sorted(_not_ignored(repo, plain.added))))


def _not_ignored(repo: Path, names: Iterable[str]) -> set[str]:
    """Return those files of data/ that no pattern in .dvcignore matches."""
    places = {f"data/{name}": name for name in names}
    if not places:
        return set()
    ignored = run_dvc(repo, "check-ignore", "--stdin", given="\n".join(places) + "\n", ok=(0, 1)).splitlines()
    return {name for place, name in places.items() if place not in ignored}


def _with(before: Record | None, what: str) -> list[str]:
    """Return the sources of `before` and `what`, which takes the place of an earlier import of that kind and name."""
    subject, of, _ = what.partition(" of ")
    kept = [source for source in (before.sources if before else ()) if not (of and source.startswith(subject + of))]
    return list(dict.fromkeys([*kept, what]))


@contextmanager
def kept(repo: Path) -> Iterator[None]:
    """Put data.dvc back as it was when the body fails."""
    file = Paths(repo).data_record
    before = file.read_bytes() if file.exists() else None
    try:
        yield
    except BaseException:
        if before is None:
            file.unlink(missing_ok=True)
        else:
            write_bytes(file, before)
        raise


def _read(repo: Path) -> dict[str, Any]:
    """Return what data.dvc holds; nothing where it is missing. Raises UserError when it is damaged."""
    file = Paths(repo).data_record
    if not file.exists():
        return {}
    text = file.read_text(errors="replace")
    if _CONFLICT.search(text):
        raise UserError(
            f"{file} holds both sides of a merge",
            "take one of them, `git checkout --ours data.dvc` or `git checkout --theirs data.dvc`; then "
            "`seedbed data restore` and `git add data.dvc`",
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no valid YAML ({error})", _AGAIN) from None
    outs = content.get("outs") if isinstance(content, dict) else None
    if not isinstance(outs, list) or len(outs) != 1 or not isinstance(outs[0], dict):
        raise UserError(f"{file} is no file of DVC's: it does not name data/ as its one output", _AGAIN)
    if outs[0].get("path") != "data" or not isinstance(outs[0].get("md5"), str):
        raise UserError(f"{file} is no record of data/: its output has another path, or no hash", _AGAIN)
    return content


def _write(record: Record, content: dict[str, Any]) -> None:
    """Write `content` to data.dvc, with `record` as what is agreed to."""
    content.setdefault("meta", {})["seedbed"] = {"data": record.data, "sources": list(record.sources)}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    write_text(Paths(record.repo).data_record, text)
