import json
import pickle
import tracemalloc

import numpy as np
import pytest

from seedbed.data.sample import SAMPLE_CLASSES
from seedbed.data.voc import JSON_LABELS, VocData
from seedbed.errors import UserError
from seedbed.exchange.imports.labels import ADDED, CHANGED, EMPTY, GONE, KEPT, SAME, import_labels
from seedbed.files import read_json
from seedbed.params import DataParams

C = len(SAMPLE_CLASSES)
SHOWN = [(0,), (1, 3), (0, 4), (2,)]  # classes of the training images, in any form of file


def vectors(ids):
    return {name: np.isin(np.arange(C), shown).astype(np.float32) for name, shown in zip(ids, SHOWN, strict=True)}


def as_npy(ids, path):
    np.save(path, vectors(ids))


def as_tags(ids, path):
    tags = {name: np.array(shown, np.int64) + 1 for name, shown in zip(ids, SHOWN, strict=True)}
    path.write_bytes(pickle.dumps(tags, 2))


def as_old_pickle(ids, path):
    path.write_bytes(pickle.dumps({name: vector.astype(int) for name, vector in vectors(ids).items()}, 0))


def as_lists_of_ids(ids, path):
    path.write_bytes(pickle.dumps({name: [k + 1 for k in shown] for name, shown in zip(ids, SHOWN, strict=True)}, 4))


def as_text(ids, path):
    lines = (f"{name} {' '.join(map(str, shown))} \n" for name, shown in zip(ids, SHOWN, strict=True))
    path.write_text("".join(lines).rstrip())  # lines end in a blank, the last one has no end


def as_paths(ids, path):
    path.write_text(
        "\r\n".join(f"/JPEGImages/{name}.jpg {' '.join(map(str, k))}" for name, k in zip(ids, SHOWN, strict=True))
    )


def as_json(ids, path):
    path.write_text(
        json.dumps({name: [SAMPLE_CLASSES[k] for k in shown] for name, shown in zip(ids, SHOWN, strict=True)})
    )


def as_json_of_indices(ids, path):
    path.write_text(json.dumps(dict(zip(ids, SHOWN, strict=True)), indent=2))


FORMS = (as_npy, as_tags, as_old_pickle, as_lists_of_ids, as_text, as_paths, as_json, as_json_of_indices)


@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_found_by_content_not_by_name(voc, ids, given, form):
    form(ids, given / "labels")
    if form is as_npy:
        (given / "labels.npy").rename(given / "labels")
    found = import_labels(voc, ids, given / "labels")
    assert (found.matched, found.missed, found.refused, found.extra) == (4, [], [], 0)
    assert found.written == voc.voc / JSON_LABELS
    for name, vector in vectors(ids).items():
        assert voc.labels(ids)[name].tolist() == vector.tolist()


def test_the_former_labels_are_replaced_or_merged_and_changes_counted(voc, ids, given):
    before = read_json(voc.root / JSON_LABELS)
    path = voc.voc / JSON_LABELS
    changed = [SAMPLE_CLASSES[k] for k in range(C) if SAMPLE_CLASSES[k] not in before[ids[0]]]
    (given / "two.json").write_text(json.dumps({ids[0]: changed, ids[1]: before[ids[1]]}))
    found = import_labels(voc, ids, given / "two.json", merge=True)
    assert (found.matched, found.missed) == (2, ids[2:])
    assert found.notes == {CHANGED: 1, SAME: 1, KEPT: len(before) - 2}
    merged = read_json(path)
    assert merged.keys() == before.keys()
    assert merged[ids[0]] == changed
    assert all(sorted(merged[name]) == sorted(before[name]) for name in before if name != ids[0])
    (given / "train.json").write_text(json.dumps({name: merged[name] for name in ids} | {"other": [0]}))
    found = import_labels(voc, ids, given / "train.json")
    assert found.notes == {SAME: 4, ADDED: 1, GONE: len(before) - 4}
    assert read_json(path) == {name: merged[name] for name in ids} | {"other": [SAMPLE_CLASSES[0]]}
    assert read_json(voc.root / JSON_LABELS) == before


def test_training_images_lose_no_labels_unasked(voc, ids, given):
    before = (voc.root / JSON_LABELS).read_bytes()
    (given / "labels.txt").write_text(f"{ids[0]} 0\n{ids[1]} 99\n")
    with pytest.raises(UserError, match=r"3 of 4 training images have labels that .* would take away") as refused:
        import_labels(voc, ids, given / "labels.txt")
    assert f"'{ids[1]}'" in refused.value.message
    assert "--merge" in refused.value.fix
    assert (voc.root / JSON_LABELS).read_bytes() == before
    assert not (voc.voc / JSON_LABELS).exists()


def test_labels_of_images_outside_the_lists_are_kept_and_counted(voc, ids, given):
    (given / "labels.txt").write_text(f"{ids[0]} 0\nother 1 2\n")
    found = import_labels(voc, ids, given / "labels.txt", merge=True)
    assert (found.matched, found.extra) == (1, 1)
    assert read_json(found.written)["other"] == list(SAMPLE_CLASSES[1:3])


@pytest.mark.parametrize(
    ("ids", "numbers"),
    [
        (["2007_000032", "2007_000039"], [2007000032, 2007000039]),
        (["COCO_train2014_000000000009", "COCO_train2014_000000000025"], [9, 25]),
        (["000000000009", "000000000025"], [9, 25]),
    ],
)
def test_images_given_by_number_are_found(tmp_path, ids, numbers):
    (tmp_path / "data").mkdir()
    voc = VocData(tmp_path / "data", DataParams(classes=["cat", "dog"]))
    np.save(tmp_path / "labels.npy", {number: np.array([0, 1.0]) for number in [*map(np.int64, numbers), 77]})
    found = import_labels(voc, ids, tmp_path / "labels.npy")
    assert (found.matched, found.extra) == (2, 1)
    assert read_json(found.written) == {ids[0]: ["dog"], ids[1]: ["dog"], "77": ["dog"]}


def test_a_number_that_fits_two_images_is_none_of_them(tmp_path):
    (tmp_path / "data").mkdir()
    voc = VocData(tmp_path / "data", DataParams(classes=["cat", "dog"]))
    np.save(tmp_path / "labels.npy", {9: np.array([0, 1.0])})
    with pytest.raises(UserError, match="nothing in"):
        import_labels(voc, ["train_9", "val_9"], tmp_path / "labels.npy")


def test_wrong_entries_are_refused_with_the_reason_and_the_others_taken(voc, ids, given):
    rows = [[1], [1, 1], [6], [0, 2]]
    content = dict(zip(ids, map(np.array, rows), strict=True))
    (given / "tags.pkl").write_bytes(pickle.dumps({**content, "more": np.array([2]), "most": np.array([3])}))
    found = import_labels(voc, ids, given / "tags.pkl", merge=True)
    assert (found.matched, found.missed, found.extra) == (1, [], 2)
    assert found.refused == [
        (f"the entry of '{ids[1]}'", "names a class twice"),
        (f"the entry of '{ids[2]}'", "unknown class 6; classes here are 1..5"),
        (f"the entry of '{ids[3]}'", "unknown class 0; classes here are 1..5"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("cat", "not class indices"),
        ("5", "unknown class 5"),
        ("1 1", "twice"),
        ("-1", "not class"),
        ("9" * 5000, "not"),
    ],
)
def test_wrong_lines_are_refused(voc, ids, given, line, reason):
    (given / "labels.txt").write_text(f"{ids[0]} 1\n{ids[1]} {line}")
    found = import_labels(voc, ids, given / "labels.txt", merge=True)
    assert found.matched == 1
    assert reason in found.refused[0][1]


@pytest.mark.parametrize("entry", ["dog", [["dog"]], ["unicorn"], [True], [5], [-1], [0, 0], [0.5], None])
def test_wrong_json_entries_are_refused(voc, ids, given, entry):
    (given / "labels.json").write_text(json.dumps({ids[0]: [1], ids[1]: entry}))
    found = import_labels(voc, ids, given / "labels.json", merge=True)
    assert found.matched == 1
    assert found.refused[0][0] == f"the entry of '{ids[1]}'"


def test_images_without_a_class_are_told(voc, ids, given):
    (given / "labels.txt").write_text(f"{ids[0]}\n{ids[1]} 2\n")
    assert import_labels(voc, ids, given / "labels.txt", merge=True).notes[EMPTY] == 1


def test_vectors_of_another_number_of_classes_are_refused(voc, ids, given):
    np.save(given / "cls_labels.npy", {name: np.zeros(20, np.float32) for name in ids})
    before = (voc.root / JSON_LABELS).read_bytes()
    with pytest.raises(UserError, match=r"refused \(4\).*no vector of 5 zeros and ones"):
        import_labels(voc, ids, given / "cls_labels.npy")
    assert (voc.root / JSON_LABELS).read_bytes() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps([1, 2]), "no dict"),
        (pickle.dumps({(1, 2): [1]}), "as a key"),
        (pickle.dumps({None: [1]}), "no dict from image id"),
        (pickle.dumps({"a": print}), "not allowed"),
        (pickle.dumps({"a": [[1], [1, 2]]}), "nothing in"),
        (b"\xff\xfe\x00", "neither"),
        (b"[1, 2]", "must hold a mapping"),
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"", "nothing in"),
    ],
)
def test_other_files_are_refused(voc, ids, given, content, reason):
    (given / "labels").write_bytes(content)
    with pytest.raises(UserError, match=reason):
        import_labels(voc, ids, given / "labels")


def test_a_broken_file_before_is_replaced_but_not_merged_with(voc, ids, given):
    (voc.root / JSON_LABELS).write_text("{")
    (given / "labels.txt").write_text(f"{ids[0]} 1\n")
    with pytest.raises(UserError, match="not valid JSON"):
        import_labels(voc, ids, given / "labels.txt", merge=True)
    import_labels(voc, ids, given / "labels.txt")
    assert read_json(voc.voc / JSON_LABELS) == {ids[0]: [SAMPLE_CLASSES[1]]}


def test_the_first_labels_need_no_file_before(voc, ids, given):
    (voc.root / JSON_LABELS).unlink()
    (given / "labels.txt").write_text(f"{ids[0]} 1\n")
    assert import_labels(voc, ids, given / "labels.txt").notes == {ADDED: 1}


def test_a_label_file_without_images_of_the_lists_says_how_entries_are_matched(voc, ids, given):
    (given / "labels.txt").write_text("other 1\n")
    with pytest.raises(UserError, match="nothing in") as refused:
        import_labels(voc, ids, given / "labels.txt")
    assert refused.value.fix.startswith("entries are matched by image id")


def test_shared_lists_within_lists_are_not_written_out(voc, ids, given):
    shared: list = []
    for _ in range(10):
        shared = [shared] * 10
    (given / "labels.pkl").write_bytes(pickle.dumps(dict.fromkeys(ids, shared), 4))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"refused \(4\)"):
            import_labels(voc, ids, given / "labels.pkl")
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
