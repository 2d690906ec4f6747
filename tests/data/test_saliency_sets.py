import numpy as np
import pytest

from seedbed.data.saliency_sets import SaliencySet, load_map
from seedbed.errors import UserError


def test_reads_pairs(root):
    pairs = SaliencySet(root / "DUTS-TR")
    assert pairs.name == "DUTS-TR"
    assert len(pairs.ids()) == 6
    first = pairs.ids()[0]
    size = pairs.image(first).size
    mask = pairs.mask(first, size)
    assert mask.shape == size[::-1]
    np.testing.assert_array_equal(pairs.salient(first), mask >= 128)
    np.testing.assert_array_equal(load_map(pairs.mask_path(first), size), mask)


def test_incomplete_sets_are_named(root):
    pairs = SaliencySet(root / "DUTS-TR")
    pairs.mask_path(pairs.ids()[2]).unlink()
    again = SaliencySet(root / "DUTS-TR")
    with pytest.raises(UserError, match=r"pair_1_0002 and 0 more have no mask"):
        again.ids()
    with pytest.raises(UserError, match="no file for id 'pair_1_0002'"):
        again.mask("pair_1_0002")


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        SaliencySet(tmp_path / "DUTS").ids()
    (tmp_path / "DUTS" / "Images").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no images"):
        SaliencySet(tmp_path / "DUTS").ids()
