"""The catalogue of public data sets: what they hold, where they come from, how their archives are laid out.

The entries are data (`catalogue.yaml`); users add to them, or mend a dead link, without touching code:
SEEDBED_CATALOGUE names a YAML file of the same form that is merged in, SEEDBED_MIRROR a URL below which every archive
is looked for first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from seedbed.acquire.archive import Rule
from seedbed.acquire.members import ExtractLimits, safe_path
from seedbed.errors import UserError
from seedbed.validation import describe_findings

CATALOGUE_VARIABLE = "SEEDBED_CATALOGUE"
MIRROR_VARIABLE = "SEEDBED_MIRROR"

MARGIN = 4
"""Times as many bytes as the catalogue states, about, may come out of an archive."""
LEAST = 16_000_000
"""Bytes that are allowed for anyway: what is small is stated roughly."""

_PATTERNS = "patterns"
_RESERVED = {"state", "downloads", _PATTERNS}
"""Names in the library, and in the catalogue's file, that no data set can have."""
_USED = re.compile(r"<([a-z-]+):(.*)>")

Checksum = Annotated[str, StringConstraints(pattern=r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]
SetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[\w-][\w.-]*$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Archive(_Entry):
    """One file that a data set is published as."""

    sources: list[str] = Field([], description="addresses, in the order of trying; none = only by hand")
    checksum: Checksum | None = Field(None, description="published checksum; null = recorded at first use")
    size: int = Field(0, ge=0, description="bytes, about; 0 = not known")
    unpacked: int = Field(0, ge=0, description="bytes, about, that come out of it; 0 = no more than its size")
    rough: bool = Field(False, description="whether the size is too rough to tell a wrong file by it")
    raw: bool = Field(False, description="read by the conversion and not itself part of data/")
    layout: dict[str, str] = Field(description="regular expression on a path in the archive -> its place")

    @model_validator(mode="after")
    def _layout_is_sound(self) -> Self:
        for pattern, place in self.layout.items():
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"layout: {pattern!r} is no regular expression ({error})") from None
            if any(int(group) > groups for group in re.findall(r"\\(\d)", place)):
                raise ValueError(f"layout: {place!r} names a group that {pattern!r} does not have")
        return self

    @property
    def limits(self) -> ExtractLimits:
        """What may come out of it: a few times of what is stated, where something is."""
        stated = max(self.size, self.unpacked)
        return ExtractLimits(bytes=MARGIN * max(stated, LEAST)) if stated else ExtractLimits()

    @property
    def rules(self) -> list[Rule]:
        """The layout as rules."""
        return [Rule(pattern, place) for pattern, place in self.layout.items()]


class DataSet(_Entry):
    """A public data set."""

    title: str
    content: str = Field(description="what it holds, with counts")
    homepage: str
    terms: str = Field(description="terms of use, in short")
    place: str = Field(description="folder in data/ that it goes to")
    unpacked: int = Field(0, ge=0, description="bytes, about, of the folder that it becomes, and on the way there")
    needs: list[SetName] = Field([], description="sets that its conversion reads, and that it is used with")
    convert: Literal["sbd", "coco"] | None = Field(None, description="conversion that makes masks and lists")
    archives: dict[FileName, Archive]
    expected: dict[str, int] = Field({}, description="folder -> files, or list -> lines, of the complete set")

    @property
    def size(self) -> int:
        """Bytes of all archives, about."""
        return sum(archive.size for archive in self.archives.values())

    @model_validator(mode="after")
    def _places_are_inside(self) -> Self:
        for place in (self.place, *self.expected):
            path = safe_path(place)
            if path is None or not path.parts or path.parts[0] == "imported":
                raise ValueError(f"{place!r} is no place in data/ for a data set")
        return self

    @property
    def recipe(self) -> str:
        """Hash of all that decides which files the set becomes; addresses, counts and prose do not."""
        made_by = self.model_dump(include={"place", "needs", "convert"})
        made_by["archives"] = {name: (one.raw, list(one.layout.items())) for name, one in self.archives.items()}
        return _hash(made_by)

    @property
    def digest(self) -> str:
        """Hash of the recipe and of the counts that the set must come to."""
        return _hash([self.recipe, self.expected])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


class _Catalogue(_Entry):
    sets: dict[SetName, DataSet]

    @model_validator(mode="after")
    def _names_are_free(self) -> Self:
        for name in sorted(_RESERVED & self.sets.keys()):
            raise ValueError(f"'{name}' cannot be the name of a data set: the library uses it")
        return self

    @model_validator(mode="after")
    def _needs_can_be_met(self) -> Self:
        open_needs = {name: set(entry.needs) for name, entry in self.sets.items()}
        for name, needs in open_needs.items():
            if needs - self.sets.keys():
                raise ValueError(f"{name} needs {', '.join(sorted(needs - self.sets.keys()))}, not in the catalogue")
        while met := {name for name, needs in open_needs.items() if not needs & open_needs.keys()}:
            open_needs = {name: needs for name, needs in open_needs.items() if name not in met}
        if open_needs:
            raise ValueError(f"{', '.join(sorted(open_needs))} need each other, in a circle")
        return self


def load_catalogue(environ: Mapping[str, str] = os.environ) -> dict[str, DataSet]:
    """Return the data sets by name, with what the user adds by SEEDBED_CATALOGUE and SEEDBED_MIRROR.

    In the user's file a set that is known needs only what changes; archives are merged by file name, and their sources
    come before the known ones. Raises UserError when that file is missing, no YAML, or holds what no entry can.
    """
    sets = yaml.safe_load(resources.files("seedbed.acquire").joinpath("catalogue.yaml").read_text(encoding="utf-8"))
    patterns = sets.pop(_PATTERNS)
    file, mirror = environ.get(CATALOGUE_VARIABLE), environ.get(MIRROR_VARIABLE)
    if file:
        given = _read(Path(file))
        patterns |= given.pop(_PATTERNS, {})
        sets = _merged(sets, given, file)
    try:
        known = _Catalogue.model_validate({"sets": _expanded(sets, patterns)}).sets
    except ValidationError as error:
        findings = "; ".join(text.replace("sets.", "", 1) for text in describe_findings(error, _Catalogue))
        fix = f"mend {file}, or unset {CATALOGUE_VARIABLE}"
        raise UserError(f"{file or 'catalogue.yaml'}: {findings}", fix) from None
    return _mirrored(known, mirror) if mirror else known


def _expanded(sets: dict[str, Any], patterns: Mapping[str, Any]) -> dict[str, Any]:
    """Return `sets` with every `<pattern:name>` in a layout replaced by that pattern for folders called `name`."""

    def expand(expression: str) -> str:
        used = _USED.fullmatch(expression)
        return str(patterns[used[1]]).replace("NAME", used[2]) if used and used[1] in patterns else expression

    expanded = {}
    for name, entry in sets.items():
        archives = {file: dict(archive) for file, archive in entry.get("archives", {}).items()}
        for archive in archives.values():
            if isinstance(archive.get("layout"), dict):
                archive["layout"] = {expand(str(pattern)): place for pattern, place in archive["layout"].items()}
        expanded[name] = entry | {"archives": archives}
    return expanded


def _read(file: Path) -> dict[str, Any]:
    """Return the user's additions to the catalogue, set name -> fields."""
    fix = f"mend it, or unset {CATALOGUE_VARIABLE}"
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{CATALOGUE_VARIABLE}={file} cannot be read ({error.strerror})", fix) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{CATALOGUE_VARIABLE}={file} is no YAML ({error})", fix) from None
    if not (isinstance(given, dict) and all(isinstance(entry, dict) for entry in given.values())):
        raise UserError(f"{CATALOGUE_VARIABLE}={file} must map names of sets to their fields", fix)
    return given


def _merged(sets: dict[str, Any], given: dict[str, Any], file: str) -> dict[str, Any]:
    merged = dict(sets)
    for name, fields in given.items():
        entry = {**sets.get(name, {}), **fields}
        known, added = sets.get(name, {}).get("archives", {}), fields.get("archives") or {}
        if not (isinstance(added, dict) and all(isinstance(one, dict) for one in added.values())):
            raise UserError(f"{file}: {name}.archives must map file names to their fields")
        entry["archives"] = {**known, **{key: _merged_archive(known.get(key, {}), one) for key, one in added.items()}}
        merged[name] = entry
    return merged


def _merged_archive(known: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return {**known, **given, "sources": [*(given.get("sources") or []), *known.get("sources", [])]}


def _mirrored(sets: Mapping[str, DataSet], mirror: str) -> dict[str, DataSet]:
    """Return `sets` with `mirror`/<file> as the first source of every archive (<set>/<file> if two share the name)."""
    files = Counter(file for entry in sets.values() for file in entry.archives)
    mirrored = {}
    for name, entry in sets.items():
        archives = {}
        for file, archive in entry.archives.items():
            path = file if files[file] == 1 else f"{name}/{file}"
            sources = [f"{mirror.rstrip('/')}/{path}", *archive.sources]
            archives[file] = archive.model_copy(update={"sources": sources})
        mirrored[name] = entry.model_copy(update={"archives": archives})
    return mirrored
