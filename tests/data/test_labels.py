import json

import numpy as np
import pytest

from seedbed.data.labels import json_labels, labels_of_mask, npy_labels, xml_labels
from seedbed.errors import UserError

CLASSES = ("bird", "boat", "car")
XML = "<annotation><filename>x</filename>{}</annotation>"
OBJECT = "<object><name>{}</name><difficult>1</difficult><part><name>head</name></part></object>"


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_json_takes_names_and_indices(tmp_path):
    labels = json_labels(write(tmp_path / "l.json", {"a": ["car", "bird"], "b": [1], "c": []}), CLASSES)
    assert {key: value.tolist() for key, value in labels.items()} == {"a": [1, 0, 1], "b": [0, 1, 0], "c": [0, 0, 0]}
    assert labels["a"].dtype == np.float32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": ["brid"]}, "'a': unknown class 'brid'; did you mean 'bird'"),
        ({"a": [3]}, "unknown class 3; indices run from 0 to 2"),
        ({"a": [True]}, "unknown class True"),
        ({"a": "car"}, "must be a list"),
        (["car"], "must hold a mapping"),
        ("{", "not valid JSON"),
    ],
)
def test_wrong_json_is_named(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        json_labels(write(tmp_path / "l.json", content), CLASSES)


def test_npy(tmp_path):
    np.save(tmp_path / "l.npy", {"a": np.array([1, 0, 1], np.float64)})
    assert npy_labels(tmp_path / "l.npy", 3)["a"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("content", [{"a": np.ones(4)}, {"a": np.full(3, 0.5)}, {"a": [1, 0, 0]}, np.ones((2, 3))])
def test_wrong_npy_is_refused(tmp_path, content):
    np.save(tmp_path / "l.npy", content)
    with pytest.raises(UserError, match=r"l\.npy"):
        npy_labels(tmp_path / "l.npy", 3)


def test_xml_counts_difficult_objects_and_no_parts(tmp_path):
    write(tmp_path / "a.xml", XML.format(OBJECT.format("car") + OBJECT.format("car") + OBJECT.format("boat")))
    assert xml_labels(tmp_path, ["a"], CLASSES)["a"].tolist() == [0, 1, 1]


def test_wrong_xml_is_named(tmp_path):
    write(tmp_path / "a.xml", XML.format(OBJECT.format("cat")))
    write(tmp_path / "b.xml", "<annotation>")
    for image_id, message in (("a", "unknown class 'cat'"), ("b", "not valid XML"), ("c", "no annotation for id 'c'")):
        with pytest.raises(UserError, match=message):
            xml_labels(tmp_path, [image_id], CLASSES)


def test_masks_give_labels_without_background_and_ignore():
    assert labels_of_mask(np.array([[0, 2], [255, 2]], np.uint8), 3).tolist() == [0, 1, 0]
