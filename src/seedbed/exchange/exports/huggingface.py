"""The layout of Hugging Face's `datasets`: shards of Parquet, pictures inside, features named in the card.

Written with pyarrow alone; `datasets.load_dataset(FOLDER)` takes the features from the head of README.md.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from seedbed import IGNORE
from seedbed.data.voc import VocData
from seedbed.errors import UserError
from seedbed.exchange.exports.material import Material, missing, read_checked
from seedbed.exchange.work import work_through
from seedbed.files import disk_errors
from seedbed.seeds.store import MapStore

SHARD_BYTES = 256 * 2**20
"""Size from which a shard is closed and the next one begun."""

_ROWS = 64  # of a row group: as many photographs and class maps as are comfortably in memory
_FOLDER, _SPLIT = "data", "train"
_PICTURE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_USAGE = """`datasets.load_dataset(FOLDER)` gives the split `train` of the training images:

- `mask`: the pseudo-label, a grey index image;
- `classes`: the image labels, 0-based (class k is id k + 1 of the mask);
- `image`, with `--images copy`: the photograph as it is;
- `saliency`, with `--with saliency`: the saliency map, 0..255;
- `seeds` and `seed_classes`, with `--with seeds`: class maps as grey images, round(255 x score), and their classes."""


@dataclass(frozen=True)
class HuggingFace:
    """The one layout whose files are tables."""

    name: str = "huggingface"
    summary: str = "Hugging Face datasets: Parquet, and a card that names its features"
    usage: str = _USAGE
    needs_seeds: bool = False
    photographs: str | None = None

    def write(self, material: Material, folder: Path) -> str:
        """Write the shards into `folder`/data and return the head of the card.

        Raises UserError for a file that is missing or damaged, when photographs are to be linked, and for another id
        to ignore.
        """
        if material.ignore != IGNORE:
            raise UserError(f"huggingface says {IGNORE} for ignore, not {material.ignore}", "leave --ignore out")
        if material.images == "link":
            raise UserError(
                "photographs are inside the Parquet files of huggingface: no link", "--images copy, or none"
            )
        columns = _columns(material)
        schema = pa.schema([(name, kind) for name, (kind, _) in columns.items()])
        rows = _Rows(schema, material.voc, material.pseudo, material.seeds, material.saliency)
        items = [(image_id, np.flatnonzero(material.labels[image_id]).tolist()) for image_id in material.train]
        tables = work_through("export", rows.table, items, material.jobs, _ROWS)
        size = _write_shards(folder / _FOLDER, schema, tables)
        return _head({name: feature for name, (_, feature) in columns.items()}, len(items), *size)


def _columns(material: Material) -> dict[str, tuple[pa.DataType, dict[str, Any]]]:
    """Return type and feature, in the words of the card's head, of every column."""
    picture = (_PICTURE, {"dtype": "image"})
    names = {str(number): name for number, name in enumerate(material.voc.classes)}
    classes = (pa.list_(pa.int64()), {"list": {"class_label": {"names": names}}})
    pictures = (pa.list_(_PICTURE), {"list": {"dtype": "image"}})
    columns = {
        "id": (pa.string(), {"dtype": "string"}),
        "image": picture if material.images == "copy" else None,
        "mask": picture,
        "classes": classes,
        "saliency": picture if material.saliency else None,
        "seeds": pictures if material.seeds else None,
        "seed_classes": classes if material.seeds else None,
    }
    return {name: column for name, column in columns.items() if column is not None}


@dataclass(frozen=True)
class _Rows:
    """Makes the rows of some images: those columns of them that `schema` names. Every worker process gets one."""

    schema: pa.Schema
    voc: VocData
    pseudo: Path
    seeds: Path | None
    saliency: Path | None

    def table(self, items: Sequence[tuple[str, list[int]]]) -> pa.Table:
        """Return the rows of images given as (id, 0-based classes)."""
        store = None if self.seeds is None else MapStore(self.seeds)
        return pa.Table.from_pylist([self._row(*item, store) for item in items], self.schema)

    def _row(self, image_id: str, classes: list[int], store: MapStore | None) -> dict[str, Any]:
        mask = self.pseudo / f"{image_id}.png"
        row = {"id": image_id, "mask": _grey(read_checked(mask, self.voc.num_classes)), "classes": classes}
        if "image" in self.schema.names:
            row["image"] = _file(self.voc.image_path(image_id))
        if self.saliency is not None:
            row["saliency"] = _file(self.saliency / f"{image_id}.png")
        if store is not None:
            maps, numbers = store.maps(image_id)
            levels = np.rint(255 * maps).astype(np.uint8)
            row |= {"seeds": [_grey(level) for level in levels], "seed_classes": numbers.tolist()}
        return row


def _grey(pixels: np.ndarray) -> dict[str, Any]:
    """Return uint8 [H,W] as a cell of pictures: a grey PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def _file(path: Path) -> dict[str, Any]:
    """Return a file as it is as a cell of pictures."""
    try:
        return {"bytes": path.read_bytes(), "path": path.name}
    except FileNotFoundError:
        raise missing(path) from None


def _write_shards(folder: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> tuple[int, int]:
    """Write `tables`, a row group each, to shards of about SHARD_BYTES. Returns their bytes in memory and on disk."""
    folder.mkdir()
    held, table = 0, next(tables, None)
    while table is not None:
        path = folder / f"{_SPLIT}-{len(list(folder.iterdir())):05d}.parquet"
        with disk_errors(path), path.open("wb") as stream, pq.ParquetWriter(stream, schema) as writer:
            while table is not None and stream.tell() < SHARD_BYTES:
                writer.write_table(table)
                held += table.nbytes
                table = next(tables, None)
    return held, sum(path.stat().st_size for path in folder.iterdir())


def _head(features: dict[str, dict[str, Any]], rows: int, held: int, written: int) -> str:
    """Return the head of the card: what `datasets` and the Hub read."""
    split = {"name": _SPLIT, "num_bytes": held, "num_examples": rows}
    head = {
        "license": "unknown",
        "task_categories": ["image-segmentation"],
        "dataset_info": {
            "features": [{"name": name, **feature} for name, feature in features.items()],
            "splits": [split],
            "download_size": written,
            "dataset_size": held,
        },
        "configs": [{"config_name": "default", "data_files": [{"split": _SPLIT, "path": f"{_FOLDER}/*.parquet"}]}],
    }
    return f"---\n{yaml.dump(head, Dumper=_Plain, sort_keys=False)}---\n\n"


class _Plain(yaml.SafeDumper):
    """Writes what is equal twice, for not every reader of a card's head knows references."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that nothing is written as a reference."""
        return True


HUGGINGFACE = HuggingFace()
