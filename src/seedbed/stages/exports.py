"""The command that exports: what a method made, in the layout that another project reads."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from seedbed import IGNORE
from seedbed.errors import UserError, unknown_name
from seedbed.evaluate.scores import VARIANTS
from seedbed.exchange.exports import Layout, Material, find_layout, write_export
from seedbed.exchange.exports.material import Images
from seedbed.exchange.exports.provenance import Known, gather
from seedbed.methods import Method
from seedbed.nn.official import OFFICIAL
from seedbed.seeds.store import MapStore
from seedbed.stages.context import Context
from seedbed.trees import counted

logger = logging.getLogger(__name__)

EXTRAS = ("seeds", "saliency")
"""What an export may hold beside pseudo-labels."""


def export(
    context: Context,
    name: str,
    layout: str,
    out: Path,
    extras: Collection[str],
    images: Images,
    ignore: int = IGNORE,
) -> None:
    """Write the pseudo-labels of method `name` to `out` as `layout` wants them, with the `extras` and a card.

    Training images, and validation images that have a mask where the layout lists those. `ignore`: the id of pixels to
    ignore in grey index masks. Raises UserError, with `out` as it was, when something is missing or `out` holds
    anything but an earlier export.
    """
    for extra in extras:
        if extra not in EXTRAS:
            raise unknown_name("part of an export", extra, EXTRAS)
    entry, _, _ = context.method(name)
    _check_place(context, out)
    chosen = find_layout(layout)
    material = replace(_material(context, name, chosen, extras), images=images, ignore=_free_id(context, ignore))
    origins = {official.name: f"{official.purpose} ({official.origin})" for official in OFFICIAL.values()}
    uses_saliency = entry.uses_saliency if isinstance(entry, Method) else None
    meanings = {key: variant.meaning for key, variant in VARIANTS.items()}
    facts = gather(context.paths, context.params, name, material, Known(uses_saliency, origins, meanings))
    _check_classes(facts["measured"]["per_class"], context, name)
    files = write_export(chosen, material, facts, out)
    logger.info("wrote %s to %s; README.md there says what they are", counted(sum(files.values()), "file"), out)
    if images == "none" and chosen.photographs:
        logger.info("photographs are not among them: put or link them into %s", out / chosen.photographs)
    for finding in facts["not_in_step"]:
        logger.warning("not in step: %s", finding)


def _free_id(context: Context, ignore: int) -> int:
    """Return `ignore`. Raises UserError when it is the id of a class."""
    if ignore < context.num_ids:
        raise UserError(
            f"--ignore {ignore} is the id of a class: 0 to {context.num_ids - 1} are", f"--ignore {IGNORE}, or another"
        )
    return ignore


def _material(context: Context, name: str, layout: Layout, extras: Collection[str]) -> Material:
    """Return what is to be exported. Raises UserError naming what is missing."""
    voc, paths, data = context.voc, context.paths, context.params.data
    train = voc.ids(data.train)
    seeds, saliency = paths.seeds(name), paths.saliency_maps()
    pseudo = paths.pseudo_labels(name)
    _check_folder(pseudo, train, "pseudo-label", f"dvc repro pseudo@{name}")
    wants_seeds = layout.needs_seeds or "seeds" in extras
    if wants_seeds:
        _check_seeds(seeds, train, name)
    if "saliency" in extras:
        _check_folder(saliency, train, "saliency map", "dvc repro predict-saliency")
    return Material(
        voc=voc,
        train=train,
        val=voc.masked(voc.ids(data.val)),
        labels=voc.labels(train),
        pseudo=pseudo,
        seeds=seeds if wants_seeds else None,
        saliency=saliency if "saliency" in extras else None,
        jobs=context.params.jobs,
    )


def _check_place(context: Context, out: Path) -> None:
    """Raise UserError when `out` lies in a folder that DVC keeps: it would be removed, or made part of the data."""
    paths = context.paths
    for kept in (paths.data, paths.root / "maps", paths.root / "models", paths.root / "reports"):
        if out.resolve().is_relative_to(kept.resolve()):
            raise UserError(
                f"{out} lies in {kept}, which belongs to the pipeline", "give a folder elsewhere with --out"
            )


def _check_classes(measured: Mapping[str, float | None] | None, context: Context, name: str) -> None:
    """Raise UserError when the pseudo-labels were `measured` for other classes than the parameters name."""
    names = {"background", *context.voc.classes}
    if measured is not None and measured.keys() != names:
        others = ", ".join(sorted(measured.keys() ^ names))
        raise UserError(
            f"the pseudo-labels of {name} were made for other classes than params.yaml names: {others}",
            f"dvc repro pseudo@{name}",
        )


def _check_folder(folder: Path, ids: Sequence[str], kind: str, fix: str) -> None:
    here = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    _check_complete([image_id for image_id in ids if f"{image_id}.png" not in here], ids, f"{kind} in {folder}", fix)


def _check_seeds(folder: Path, ids: Sequence[str], name: str) -> None:
    fix = f"dvc repro seeds@{name}; a method of imported pseudo-labels has no class maps"
    store = MapStore(folder, fix)
    _check_complete([image_id for image_id in ids if image_id not in store], ids, f"class maps in {folder}", fix)


def _check_complete(missing: Sequence[str], ids: Sequence[str], what: str, fix: str) -> None:
    if missing:
        raise UserError(
            f"{len(missing)} of {len(ids)} training images have no {what}, the first is '{missing[0]}'", fix
        )
