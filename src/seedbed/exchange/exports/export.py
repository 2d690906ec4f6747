"""Writing an export: a folder that appears whole, with a card, or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seedbed.errors import UserError
from seedbed.exchange.exports.card import render_card
from seedbed.exchange.exports.material import Layout, Material
from seedbed.files import disk_errors, read_json, write_json, write_text

PROVENANCE, CARD = "provenance.json", "README.md"


def write_export(layout: Layout, material: Material, facts: dict[str, Any], out: Path) -> dict[str, int]:
    """Write `material` as `layout` says to `out`, with `facts` (provenance.gather) as JSON and as a card.

    `out` is new, empty, or an earlier export, which is replaced once the new one is complete. Returns the number of
    files by folder. Raises UserError, nothing changed, when `out` holds anything else or a file cannot be exported.
    """
    with _replacement(out.resolve()) as folder:
        head = layout.write(material, folder)
        files = count_files(folder)
        complete = {
            **facts,
            "layout": layout.name,
            "images": material.images,
            "ignore": material.ignore,
            "files": files,
        }
        write_json(folder / PROVENANCE, complete)
        write_text(folder / CARD, head + render_card(complete, layout))
    return files


def count_files(folder: Path) -> dict[str, int]:
    """Return the number of files of every folder below `folder` that holds some, without provenance and card."""
    own = {folder / PROVENANCE, folder / CARD}
    counts = Counter(path.parent.relative_to(folder).as_posix() for path in _files(folder) if path not in own)
    return dict(sorted(counts.items()))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if not path.is_dir())


@contextlib.contextmanager
def _replacement(out: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes the place of `out` if the body ends well.

    A failure leaves `out` as it was; a kill at any moment does too, or the next export puts the former one back first.
    """
    part, old = (out.with_name(f".{out.name}.{kind}") for kind in ("part", "old"))
    with disk_errors(out):
        if old.exists() and not out.exists():
            old.rename(out)
        _check_free(out)
        for leftover in filter(Path.exists, (part, old)):
            shutil.rmtree(leftover)
        part.mkdir(parents=True)
        try:
            yield part
            if out.exists():
                out.rename(old)
            part.rename(out)
        except BaseException:
            if old.exists() and not out.exists():
                old.rename(out)
            raise
        finally:
            for leftover in filter(Path.exists, (part, old)):
                shutil.rmtree(leftover)


def _check_free(out: Path) -> None:
    """Raise UserError unless `out` is new, empty, or an earlier export as it was written."""
    fix = "give a new or empty folder with --out"
    blocker = next((path for path in (out, *out.parents) if path.exists() and not path.is_dir()), None)
    if blocker is not None:
        raise UserError(f"{blocker} is a file, not a folder", fix)
    if not out.exists() or not any(out.iterdir()):
        return
    facts = read_json(out / PROVENANCE) if (out / PROVENANCE).is_file() else None
    if not isinstance(facts, dict) or "files" not in facts:
        raise UserError(f"{out} is not empty and no earlier export", fix)
    if facts["files"] != count_files(out):
        raise UserError(f"{out} is an earlier export to which files were added, or from which some were taken", fix)
