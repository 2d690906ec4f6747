import pickle

import numpy as np
import pytest

from seedbed.data.masks import read_mask
from seedbed.errors import UserError
from seedbed.exchange.imports.cues import GRID, OTHER_LABELS, CueFiles, cue_mask, import_cues, read_index_list


@pytest.fixture
def labels(ids):
    """Classes 1 and 3 (as ids) for every image."""
    return {name: np.array([1, 0, 1, 0, 0], np.float32) for name in ids}


CUES = np.array([[0, 0, 1, 3, 3], [0, 1, 0, 40, 0], [0, 0, 1, 40, 1]])  # class, row, column; (0, 1) is claimed twice


@pytest.fixture
def run(voc, ids, labels, given, place):
    """Import cues for the images of a list of lines."""

    def run_import(content, lines, protocol=2):
        (given / "cues.pickle").write_bytes(pickle.dumps(content, protocol))
        (given / "input_list.txt").write_text("\n".join(lines))
        files = CueFiles(given / "cues.pickle", given / "input_list.txt")
        return import_cues(voc, ids, labels, files, place("pseudo"))

    return run_import


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_cues_become_masks_at_image_size(run, ids, protocol):
    content = {"7_labels": np.array([1, 3]), "7_cues": CUES, "8_cues": [], "9_cues": CUES}
    found = run(content, [f"/JPEGImages/{ids[0]}.jpg 7", "", f"{ids[1]} 3", "other.jpg 9"], protocol)
    assert (found.matched, found.missed, found.refused, found.extra) == (1, ids[1:], [], 2)
    mask = read_mask(found.written / f"{ids[0]}.png")
    grid = np.full((GRID, GRID), 255, np.uint8)
    grid[0, 0] = grid[1, 0] = 0
    grid[40, 40] = 3
    rows = np.floor((np.arange(96) + 0.5) * GRID / 96).astype(int)
    columns = np.floor((np.arange(128) + 0.5) * GRID / 128).astype(int)
    np.testing.assert_array_equal(mask, grid[np.ix_(rows, columns)])


def test_labels_that_differ_are_told_and_those_of_another_image_refused(run, ids):
    content = {f"{i}_cues": CUES for i in range(4)} | {
        "0_labels": [3, 1, 0],
        "1_labels": [1],
        "2_labels": np.array([5]),
    }
    found = run(content, [f"{name} {i}" for i, name in enumerate(ids)])
    assert found.matched == 3
    assert found.notes == {OTHER_LABELS: 1}
    assert found.refused == [
        (f"'2_cues' ({ids[2]})", "its labels are [5], the image's [1, 3]: is this the right list?")
    ]


def one_class(number):
    return np.array([[0, number], [0, 5], [0, 5]])


@pytest.mark.parametrize("with_labels", [True, False])
def test_a_shifted_list_is_refused(run, ids, place, with_labels):
    content = {f"{i}_cues": one_class(1 if i == 0 else 4) for i in range(4)}
    if with_labels:
        content |= {f"{i}_labels": np.array([1 if i == 0 else 4]) for i in range(4)}
    with pytest.raises(UserError, match=r"3 of 4 in .* contradict the image labels") as refused:
        run(content, [f"{name} {i}" for i, name in enumerate(ids)])
    assert "list" in refused.value.fix
    assert not place("pseudo").target.exists()


def test_the_numbers_of_a_row_are_bounded(run, ids):
    row = [1] * 1000
    nested = [[row] * 1000] * 3
    found = run({"0_cues": CUES, "1_cues": nested}, [f"{ids[0]} 0", f"{ids[1]} 1"])
    assert "whole numbers" in found.refused[0][1]


@pytest.mark.parametrize(
    ("cues", "reason"),
    [
        ([[6], [0], [0]], "a class beyond 5"),
        ([[-1], [0], [0]], "a class beyond"),
        ([[1], [41], [0]], "outside the 41x41 grid"),
        ([[1], [0], [41]], "outside the 41x41 grid"),
        ([[1], [0]], "no array"),
        ([[1, 2], [0]], "whole numbers"),
        ([[1.5], [0], [0]], "whole numbers"),
        ([["x"], ["y"], ["z"]], "whole numbers"),
        ("text", "whole numbers"),
        ([[float("nan")], [0], [0]], "whole numbers"),
        ([[1e300], [0], [0]], "whole numbers"),
    ],
)
def test_cues_that_are_no_cells_are_refused(run, ids, cues, reason):
    found = run({"0_cues": CUES, "1_cues": cues}, [f"{ids[0]} 0", f"{ids[1]} 1"])
    assert found.matched == 1
    assert reason in found.refused[0][1]


def test_no_cues_leave_everything_to_be_ignored():
    assert (cue_mask(np.zeros((3, 0), int), 5) == 255).all()


@pytest.mark.parametrize("line", ["2007_000032", "a b", "a 1 2", "a -1", "a 1\na 2"])
def test_a_wrong_list_is_refused_with_the_line(given, line):
    (given / "list.txt").write_text("first 0\n" + line)
    with pytest.raises(UserError, match=r"line [23]"):
        read_index_list(given / "list.txt")


def test_other_files_are_refused(run, ids, place, given, voc, labels):
    with pytest.raises(UserError, match=r"nothing in .* belongs"):
        run({"1_cues": CUES}, [f"{ids[0]} 0"])
    with pytest.raises(UserError, match="holds a list, not a dict of cues"):
        run([1], [f"{ids[0]} 0"])
    with pytest.raises(UserError, match="not allowed"):
        run({"0_cues": print}, [f"{ids[0]} 0"])
    with pytest.raises(UserError, match="does not exist"):
        import_cues(voc, ids, labels, CueFiles(given / "none.pkl", given / "input_list.txt"), place("pseudo"))
    assert not place("pseudo").target.exists()
