"""The registry of layouts: how each of the projects that train on pseudo-labels wants its files."""

from __future__ import annotations

from seedbed.data.masks import voc_palette
from seedbed.errors import unknown_name
from seedbed.exchange.exports.huggingface import HUGGINGFACE
from seedbed.exchange.exports.material import Layout, Material, lines
from seedbed.exchange.exports.objects import object_npy
from seedbed.exchange.exports.trees import JPEGS, SEEDS, Tree

_VOC = "VOCdevkit/VOC2012"
_AUG = "SegmentationClassAug"
_PSEUDO = "pseudo"
_SETS = f"{_VOC}/ImageSets"

_MASKS = (
    f"Masks lie in `{_VOC}/{_AUG}`: pseudo-labels of training images, true masks of validation images. Do not copy "
    "them over a VOC folder of yours: true masks of training images have the same names there."
)

MMSEGMENTATION_CONFIG = "dataset.py"
"""The data set as mmsegmentation's configurations inherit it."""


def _pairs(ids: list[str], masks: str) -> bytes:
    """Return the lines of a list of photographs and masks, as paths below the layout's root."""
    return lines(f"/{JPEGS}/{image_id}.jpg /{masks}/{image_id}.png" for image_id in ids).encode()


def _ids(ids: list[str]) -> bytes:
    return lines(ids).encode()


def _splits(material: Material) -> dict[str, list[str]]:
    """Return the ids by the names that readers of VOC's augmented set expect; no list without images."""
    named = {"train_aug": list(material.train), "val": list(material.val)}
    return {name: ids for name, ids in named.items() if ids}


def _deeplab_lists(material: Material) -> dict[str, bytes]:
    return {f"{_SETS}/SegmentationAug/{name}.txt": _pairs(ids, _AUG) for name, ids in _splits(material).items()}


def _mmsegmentation_files(material: Material) -> dict[str, bytes]:
    lists = {f"{_SETS}/Segmentation/{name}.txt": _ids(ids) for name, ids in _splits(material).items()}
    return {**lists, MMSEGMENTATION_CONFIG: _mmsegmentation_config(material).encode()}


def _mmsegmentation_config(material: Material) -> str:
    names = ("background", *material.voc.classes)
    colours = voc_palette()[: len(names)].tolist()
    sets = "\n".join(
        f"{split}_dataset = dict(**common, ann_file='ImageSets/Segmentation/{name}.txt')"
        for split, name in (("train", "train_aug"), ("val", "val"))
        if name in _splits(material)
    )
    return f"""# For `_base_` of a configuration of mmsegmentation 1.x; fileDirname is where this file lies.
metainfo = dict(
    classes={names!r},
    palette={colours!r},
)
common = dict(
    type='BaseSegDataset',
    data_root='{{{{ fileDirname }}}}/{_VOC}',
    data_prefix=dict(img_path='{JPEGS}', seg_map_path='{_AUG}'),
    img_suffix='.jpg',
    seg_map_suffix='.png',
    metainfo=metainfo,
    reduce_zero_label=False,
)
{sets}
"""


def _caffe_lists(material: Material) -> dict[str, bytes]:
    return {"train_ins.txt": _pairs(list(material.train), _PSEUDO)}


def _psa_files(material: Material) -> dict[str, bytes]:
    ids = list(material.train)
    return {
        "train_aug.txt": _ids(ids),
        "train_aug_pairs.txt": _pairs(ids, _PSEUDO),
        "cls_labels.npy": object_npy({image_id: material.labels[image_id] for image_id in ids}),
    }


_ENTRIES: tuple[Layout, ...] = (
    Tree(
        "deeplab-pytorch",
        "the VOC reader of kazuto1011/deeplab-pytorch (DeepLab v2; EPS used it)",
        f"Set `DATASET.ROOT` to `VOCdevkit`, `SPLIT.TRAIN` to `train_aug` and `SPLIT.VAL` to `val`. {_MASKS}",
        _AUG,
        _deeplab_lists,
        root=_VOC,
        val=True,
    ),
    Tree(
        "mmsegmentation",
        "mmsegmentation 1.x: VOC's folders and a data set for its configurations",
        f"Name `{MMSEGMENTATION_CONFIG}` in `_base_` and take `train_dataset` and `val_dataset` from it, with a "
        f"pipeline of yours. {_MASKS}",
        _AUG,
        _mmsegmentation_files,
        root=_VOC,
        val=True,
    ),
    Tree(
        "caffe",
        "Caffe DeepLab with its image-and-mask data layer (MCIS, OAA): train_ins.txt and grey index PNGs",
        "Set `root_folder` of the data layer to this folder and `source` to `train_ins.txt`. The masks in `pseudo` are "
        "grey index PNGs: Caffe would read the colours of a palette. Its `ignore_label` must be the id to ignore given "
        "above; the readers of SEC, DSRG and SGAN have 21 there, which `--ignore 21` writes.",
        _PSEUDO,
        _caffe_lists,
        grey=True,
    ),
    Tree(
        "psa",
        "PSA, SEAM and EPS: class maps as <id>.npy, image labels as cls_labels.npy",
        f"`{SEEDS}/<id>.npy` is a pickled dict, 0-based class -> float32 [H,W] in 0..1, of labelled classes only "
        "(numpy.load(file, allow_pickle=True).item()); `cls_labels.npy` is a pickled dict, id -> float32 [C]. "
        "`train_aug.txt` holds ids, as EPS reads them, `train_aug_pairs.txt` paths, as PSA and SEAM do: their readers "
        "cut ids of 11 characters out of them, so that list serves for VOC's ids (2007_000032) only. The masks in "
        "`pseudo` are grey index PNGs, as EPS writes them.",
        _PSEUDO,
        _psa_files,
        grey=True,
        needs_seeds=True,
    ),
    HUGGINGFACE,
)

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in _ENTRIES}


def find_layout(name: str) -> Layout:
    """Return the layout of that name. Raises UserError with the nearest known name."""
    if name not in LAYOUTS:
        raise unknown_name("layout", name, LAYOUTS)
    return LAYOUTS[name]
