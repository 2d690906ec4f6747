"""Commands on official weight files: bring one in, and say which there are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from seedbed.data.classes import COCO_CLASSES, VOC_CLASSES
from seedbed.errors import UserError
from seedbed.nn.official import NOT_READ, OFFICIAL, OfficialFile, PublishedFile, find_official
from seedbed.nn.weights import (
    CONFIG,
    WEIGHTS,
    check_format,
    check_numbers,
    count,
    differences,
    file_hash,
    is_counter,
    is_intact,
    read_config,
    read_state,
    save_state,
    shape_text,
)
from seedbed.paths import Paths

_PUBLISHED = {"VOC": len(VOC_CLASSES), "COCO": len(COCO_CLASSES)}


def import_file(paths: Paths, file: Path, name: str, num_classes: int | None = None, out: Path | None = None) -> None:
    """Check `file` against the network of official file `name`, and write its weights and config to a folder.

    `num_classes`: object classes that the file must have; None takes the file's own, those of VOC or COCO. `out`: the
    folder, models/pretrained/<name> if None. Prints what is missing, unexpected, of another shape or dropped. Raises
    UserError, before anything is written, when the file does not fit or the folder holds other weights.
    """
    if not file.is_file():
        raise UserError(f"weight file {file} does not exist", "mend its path")
    check_format(file)
    official, folder = find_official(name), out or paths.model("pretrained", name)
    source = {"as": name, "source": file.name, "source_sha256": file_hash(file)}
    _check_free(folder, source)
    state, dropped = _entries(official, file)
    classes = _class_count(official, state, num_classes, file)
    network = official.network(classes)
    console = Console()
    _compare(console, network, state, dropped, f"{file} does not fit {name}")
    whole = _complete(network, state, file)
    config = {"architecture": type(network).__name__, "backbone": official.backbone, "classes": classes or None}
    save_state(folder, whole, {**source, **config, "tensors": len(whole)})
    _say(console, f"{folder}: {len(whole)} tensors" + (f", {classes} classes" if classes else ""))
    if len(whole) > len(state):
        _say(console, f"{len(whole) - len(state)} counters of batches are not in the file, as in old ones: set to 0")
    _say(console, f"to use it: {official.parameter}: {folder}")


def show(paths: Paths) -> None:
    """Print what is known of every official file, and which folders in models/pretrained/ hold it."""
    console, imported = Console(), _imported(paths)
    for name, official in OFFICIAL.items():
        tried = "yes" if official.tried else "no; the import is tested on generated weights of its form"
        status = {"tried here": tried, "imported here": "\n".join(imported.get(name, ["no"]))}
        console.print(_card(name, official, status))
    for file in NOT_READ:
        console.print(_card(file.name, file, {"imported here": "not read here: convert first (docs/methods.md)"}))


def _card(title: str, file: PublishedFile, status: Mapping[str, str]) -> Table:
    """Return a table of what is known of `file`, ending with its `status` here."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, expand=True)
    table.add_column(width=13)
    table.add_column(ratio=1)
    rows = {"file": file.file, "for what": file.purpose, "where from": file.origin, "terms": file.terms, **status}
    for label, text in rows.items():
        table.add_row(label, Text(text))
    return table


def _imported(paths: Paths) -> dict[str, list[str]]:
    """Return, by official file, what can be said of each folder in models/pretrained/ that holds it."""
    found: dict[str, list[str]] = {}
    for file in sorted(paths.model("pretrained").glob(f"*/{CONFIG}")):
        config = _config(file.parent)
        if "as" not in config:
            continue
        classes = f", {config['classes']} classes" if config.get("classes") else ""
        state = f"yes, {file.parent}{classes}" if is_intact(file.parent) else f"damaged, {file.parent}: import it again"
        found.setdefault(config["as"], []).append(state)
    return found


def _config(folder: Path) -> dict[str, Any]:
    """Return the config in `folder`; empty where there is none."""
    if not (folder / CONFIG).is_file():
        return {}
    config = read_config(folder, f"rm -r {folder}, then import its weights again")
    return config if isinstance(config, dict) else {}


def _check_free(folder: Path, source: Mapping[str, str]) -> None:
    """Raise UserError unless `folder` is free, or holds what is to be imported from `source`."""
    mend = "give another folder with --out"
    blocker = next((path for path in (folder, *folder.parents) if path.is_file()), None)
    if blocker is not None:
        raise UserError(f"{blocker} is a file, not a folder", mend)
    config = _config(folder)
    same = all(config.get(key) == source[key] for key in ("as", "source_sha256"))
    if not same and ((folder / WEIGHTS).exists() or config):
        held = f"{config['as']} from {config.get('source')}" if "as" in config else "weights that no import wrote"
        raise UserError(f"{folder} holds something else already: {held}", f"{mend}, or: rm -r {folder}")


def _entries(official: OfficialFile, file: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the entries of `file` under the network's names, and those dropped on purpose under the file's.

    Raises UserError when two entries would get one name.
    """
    published = read_state(file)
    dropped = {name: value for name, value in published.items() if official.dropped(name)}
    kept = {name: value for name, value in published.items() if name not in dropped}
    state = official.own_names(kept)
    if len(state) < len(kept):
        raise UserError(
            f"{file} holds one tensor of {official.name} twice, under two of the names that are known for it",
            "save the file with one of them",
        )
    return state, dropped


def _class_count(official: OfficialFile, state: Mapping[str, Tensor], asked: int | None, file: Path) -> int:
    """Return the number of object classes of the network to compare with, 0 for one without a classifier."""
    if official.classifier is None:
        if asked is not None:
            raise UserError(f"{official.name} is a backbone: it has no classifier", "leave out --classes")
        return 0
    found = official.num_classes(state)
    if found is None:  # the comparison will say that the classifier is missing
        return asked or _PUBLISHED["VOC"]
    if asked is not None and found != asked:
        raise UserError(
            f"{file} is for {found} object classes, not {asked} ({official.classifier} as {official.name} reads it)",
            f"--classes {found}, or another --as" if found > 0 else "name what the file is with --as",
        )
    if asked is None and found not in _PUBLISHED.values():
        known = " or ".join(f"{number} ({name})" for name, number in _PUBLISHED.items())
        raise UserError(
            f"as {official.name}, {file} would be for {found} object classes; official files have {known}",
            f"another --as (eps has one map more than cam), or --classes {found} if it is meant",
        )
    return found


def _complete(network: nn.Module, state: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Return a tensor for every entry of `network`, in its types; counters that the file lacks are 0.

    Raises UserError for whole numbers as weights, and for values that are no finite numbers in the network's types.
    """
    check_numbers(network, state, file)
    whole = {}
    for name, own in network.state_dict().items():
        if name not in state and is_counter(name):
            whole[name] = torch.zeros(own.shape, dtype=own.dtype)
            continue
        # A copy each: entries of a torch file may share memory, which safetensors refuses.
        whole[name] = state[name].to(own.dtype).clone(memory_format=torch.contiguous_format)
        if not (state[name].isfinite() & whole[name].isfinite()).all():  # a float64 may exceed what a float32 holds
            raise UserError(f"{name} of {file} holds values that are no finite numbers", "get the file anew")
    return whole


def _compare(
    console: Console, network: nn.Module, state: Mapping[str, Tensor], dropped: Mapping[str, Tensor], complaint: str
) -> None:
    """Print how `state` differs from `network`, and what was `dropped`. Raises UserError when it does not fit."""
    found = differences(network, state)
    rows = [(d.name, shape_text(d.network), shape_text(d.file), d.kind) for d in found]
    rows += [(name, "-", shape_text(value.shape), "dropped on purpose") for name, value in dropped.items()]
    table = Table("tensor", "network", "file", "finding")
    table.columns[0].overflow = "fold"
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if rows:
        console.print(table)
    if found:
        raise UserError(
            f"{complaint} ({count(found)} of {len(network.state_dict())} tensors); nothing is written",
            "name what the file is with --as (seedbed weights list)",
        )


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
