"""The names of the ImageNet file against those that the official converter produces."""

from __future__ import annotations

import json

from golden.conftest import FOLDER

from seedbed.nn.mxnet import state_name


def test_every_name_is_converted_as_published():
    names = json.loads((FOLDER / "eps" / "mxnet_names.json").read_text())
    assert names
    assert {name: state_name(name) for name in names} == names
