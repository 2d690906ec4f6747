"""Files of other projects: maps, labels and pseudo-labels in; pseudo-labels, seeds and saliency out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from seedbed.cli.common import AROUND, PARAMS, MethodName, ParamsFile, app, load

import_app = typer.Typer(
    help="Bring in other projects' labels, saliency maps, class maps, cues and pseudo-labels.", no_args_is_help=True
)
app.add_typer(import_app, name="import", rich_help_panel=AROUND)

Source = Annotated[Path, typer.Argument(help="Folder or zip.", metavar="FOLDER_OR_ZIP")]
ImportName = Annotated[str, typer.Option("--as", help="Name that params.yaml will call it by.")]


class Images(StrEnum):
    """What becomes of the photographs in an export."""

    NONE = "none"
    LINK = "link"
    COPY = "copy"


class Extra(StrEnum):
    """What an export may hold beside pseudo-labels."""

    SEEDS = "seeds"
    SALIENCY = "saliency"


@import_app.command("labels")
def import_labels(
    file: Annotated[Path, typer.Argument(help="cls_labels.npy, im_tags.pkl, train_cls.txt or JSON.", metavar="FILE")],
    merge: Annotated[bool, typer.Option("--merge", help="Keep the labels of images that FILE does not name.")] = False,
    params: ParamsFile = PARAMS,
) -> None:
    """Make the image labels in FILE those of data/. Nothing in the file is executed.

    They go beside the images, to image_labels.json.

    Example: `seedbed import labels cls_labels.npy`
    """
    from seedbed.stages.imports import labels

    labels(load(params), file, merge)


@import_app.command("saliency")
def import_saliency(source: Source, name: ImportName, params: ParamsFile = PARAMS) -> None:
    """Bring in published saliency maps, <id>.png or <id>_sal.png, of any size, grey or RGB.

    They go to data/imported/saliency/NAME; `saliency: {source: folder, folder: imported/saliency/NAME}` uses them.

    Example: `seedbed import saliency SALImages.zip --as pfan`
    """
    from seedbed.stages.imports import saliency

    saliency(load(params), source, name)


@import_app.command("seeds")
def import_seeds(source: Source, name: ImportName, params: ParamsFile = PARAMS) -> None:
    """Bring in published class maps, the pickled dicts <id>.npy of PSA, EPS, SEAM and IRN. Nothing in them is executed.

    They go to data/imported/seeds/NAME; a method block with `method: imported`, `options: {seeds: NAME}` uses them.

    Example: `seedbed import seeds out_cam/ --as psa`
    """
    from seedbed.stages.imports import seeds

    seeds(load(params), source, name)


@import_app.command("cues")
def import_cues(
    file: Annotated[Path, typer.Argument(help="Pickle of localization cues.", metavar="FILE")],
    index: Annotated[Path, typer.Option("--list", help="File that gives every image's number: input_list.txt.")],
    name: ImportName,
    params: ParamsFile = PARAMS,
) -> None:
    """Bring in the localisation cues of SEC, DSRG or SGAN as pseudo-labels. Nothing in the file is executed.

    Example: `seedbed import cues localization_cues.pickle --list input_list.txt --as sec`
    """
    from seedbed.stages.imports import cues

    cues(load(params), file, index, name)


@import_app.command("pseudo")
def import_pseudo(
    source: Source,
    name: ImportName,
    ignore: Annotated[
        int, typer.Option(help="Id that means ignore: 255, or 21 in SGAN's files.", min=0, max=255)
    ] = 255,
    params: ParamsFile = PARAMS,
) -> None:
    """Bring in ready-made pseudo-labels <id>.png: index PNGs, or VOC's colours.

    They go to data/imported/pseudo/NAME; a method block with `method: imported`, `options: {pseudo: NAME}` uses them.

    Example: `seedbed import pseudo pseudo_labels/ --as afa`
    """
    from seedbed.stages.imports import pseudo

    pseudo(load(params), source, name, ignore)


@import_app.command("list")
def import_list(params: ParamsFile = PARAMS) -> None:
    """List what has been imported, and how many of the images it covers.

    Example: `seedbed import list`
    """
    from seedbed.stages.imports import show

    show(load(params))


@app.command("export", rich_help_panel=AROUND)
def export(
    method: MethodName,
    layout: Annotated[
        str, typer.Option("--layout", "-l", help="deeplab-pytorch, mmsegmentation, caffe, huggingface or psa.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; new, empty, or an earlier export.")],
    extras: Annotated[
        list[Extra] | None, typer.Option("--with", help="Also write seeds or saliency; give it once for each.")
    ] = None,
    images: Annotated[Images, typer.Option(help="Photographs: their terms may forbid passing them on.")] = Images.NONE,
    ignore: Annotated[
        int, typer.Option(help="Id of pixels to ignore, for caffe and psa: 21 for SEC, DSRG and SGAN.", min=0, max=255)
    ] = 255,
    params: ParamsFile = PARAMS,
) -> None:
    """Write the pseudo-labels of a method in the layout that another project reads, with a card of their making.

    Example: `seedbed export --method eps --layout mmsegmentation --out exported --images link`
    """
    from seedbed.stages.exports import export as run

    run(load(params), method, layout, out, {extra.value for extra in extras or []}, images.value, ignore)
