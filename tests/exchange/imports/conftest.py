"""A tiny data set to import for, its images of several sizes, and a hand for zips."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seedbed.data.sample import SAMPLE_CLASSES, Counts, write_sample
from seedbed.data.voc import VocData
from seedbed.exchange.imports.place import Place
from seedbed.exchange.imports.reading import Reader
from seedbed.params import DataParams
from seedbed.paths import Paths

COUNTS = Counts(train=4, val=2, saliency_train=2, saliency_test=2)


@pytest.fixture(scope="session")
def pristine_sample(tmp_path_factory) -> Path:
    """A sample of a few images that no test changes."""
    root = tmp_path_factory.mktemp("sample") / "data"
    write_sample(root, COUNTS)
    return root


@pytest.fixture
def repo(pristine_sample, tmp_path) -> Path:
    """A repository with the sample, its second image cut to a size of its own."""
    shutil.copytree(pristine_sample, tmp_path / "repo" / "data")
    voc = VocData(tmp_path / "repo" / "data", DataParams(classes=list(SAMPLE_CLASSES)))
    second = voc.ids("train_aug")[1]
    voc.image(second).crop((0, 0, 100, 50)).save(voc.image_path(second))
    return tmp_path / "repo"


@pytest.fixture
def voc(repo) -> VocData:
    return VocData(repo / "data", DataParams(classes=list(SAMPLE_CLASSES)))


@pytest.fixture
def ids(voc) -> list[str]:
    """The training images."""
    return voc.ids("train_aug")


@pytest.fixture
def given(tmp_path) -> Path:
    """A folder for the files of another project."""
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


@pytest.fixture
def reader(voc, ids, given) -> Reader:
    return Reader(voc, ids, given)


@pytest.fixture
def place(repo):
    """Make the place of an import of some kind, named x."""
    return lambda kind: Place.of(Paths(repo), kind, "x")


@pytest.fixture
def zipped():
    """Put a folder into a zip, below a folder `result`, as other projects offer their files."""

    def zip_folder(folder: Path) -> Path:
        archive = folder.with_suffix(".zip")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
            for path in sorted(folder.rglob("*")):
                stream.write(path, Path("result", path.relative_to(folder)))
            stream.writestr("__MACOSX/result/._a.png", b"attributes")
        return archive

    return zip_folder


@pytest.fixture
def png():
    """Return the bytes of an array as PNG."""

    def encode(array: np.ndarray) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, "PNG")
        return stream.getvalue()

    return encode
