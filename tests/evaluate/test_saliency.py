import numpy as np
import py_sod_metrics
import pytest
from scipy import ndimage

from seedbed.errors import UserError
from seedbed.evaluate.saliency import SaliencyScores


@pytest.fixture(scope="module")
def pairs():
    """Blobs with soft maps: one good, one noisy, one inverted, one all background."""
    rng = np.random.default_rng(0)
    pairs = []
    for index in range(4):
        blob = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 6)
        mask = (blob > np.quantile(blob, 0.7)).astype(np.uint8) * 255
        soft = ndimage.gaussian_filter(mask.astype(float), 2) + rng.normal(scale=(5, 40, 5, 5)[index], size=mask.shape)
        soft = np.clip(soft if index != 2 else 255 - soft, 0, 255).astype(np.uint8)
        pairs.append((soft, mask if index != 3 else np.zeros_like(mask)))
    return pairs


def score(pairs):
    running = SaliencyScores()
    for prediction, mask in pairs:
        running.add(prediction, mask)
    return running.result()


@pytest.mark.filterwarnings("ignore:This class will be removed")
def test_equals_py_sod_metrics_called_directly(pairs):
    mae, f, s, e = py_sod_metrics.MAE(), py_sod_metrics.Fmeasure(), py_sod_metrics.Smeasure(), py_sod_metrics.Emeasure()
    for prediction, mask in pairs:
        for measure in (mae, f, s, e):
            measure.step(prediction, mask)
    fm, em = f.get_results()["fm"], e.get_results()["em"]
    expected = {
        "mae": mae.get_results()["mae"],
        "max_f": fm["curve"].max(),
        "mean_f": fm["curve"].mean(),
        "adaptive_f": fm["adp"],
        "s_measure": s.get_results()["sm"],
        "max_e": em["curve"].max(),
        "mean_e": em["curve"].mean(),
        "adaptive_e": em["adp"],
    }
    result = score(pairs)
    assert result == pytest.approx(expected, abs=1e-12)
    assert all(type(value) is float for value in result.values())


def test_a_perfect_map_is_perfect():
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 10:35] = 255
    result = score([(mask, mask)])
    assert result["mae"] == 0
    assert [result[name] for name in ("max_f", "s_measure", "max_e")] == pytest.approx([1, 1, 1], abs=1e-3)


def test_an_inverted_map_is_worse_in_everything(pairs):
    good, bad = score(pairs[:1]), score([(255 - pairs[0][0], pairs[0][1])])
    assert bad["mae"] > good["mae"]
    assert all(bad[name] < good[name] for name in good if name not in ("mae",))


def test_truth_is_salient_from_128_on(pairs):
    prediction, mask = pairs[0]
    grey = np.where(mask > 0, np.uint8(128), np.uint8(127))
    assert score([(prediction, grey)]) == score([(prediction, mask)])


@pytest.mark.parametrize("turn", range(4))
def test_an_object_at_the_very_border_has_a_defined_s_measure(turn):
    mask = np.zeros((20, 30), np.uint8)
    mask[-1:, 4:20] = 255
    mask = np.rot90(mask, turn)
    assert score([(mask, mask)])["s_measure"] == pytest.approx(1, abs=1e-3)


def test_sizes_must_agree():
    with pytest.raises(UserError, match="duts_7: the saliency map is"):
        SaliencyScores().add(np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8), name="duts_7")


def test_no_image_is_an_error():
    with pytest.raises(UserError, match="no saliency map"):
        SaliencyScores().result()
