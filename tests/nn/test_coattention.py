from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from seedbed.nn.coattention import CoAttended, CoAttention, PairLocaliser, PairScores, from_published

CLASSES = 5


@pytest.fixture
def block() -> CoAttention:
    torch.manual_seed(0)
    return CoAttention(8, CLASSES)


@pytest.fixture
def features() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(2, 8, 3, 4, generator=draw) * 4, torch.rand(2, 8, 5, 2, generator=draw) * 4


@pytest.fixture
def network(tiny) -> PairLocaliser:
    torch.manual_seed(2)
    return PairLocaliser(tiny, CLASSES, width=6).double().eval()


@pytest.fixture
def step() -> list[Tensor]:
    """The five images of a step: the anchor, the related, the mirrored, the small and the large one."""
    draw = torch.Generator().manual_seed(3)
    sizes = ((48, 48), (48, 48), (48, 48), (36, 36), (96, 96))
    return [torch.randn(2, 3, *size, generator=draw, dtype=torch.float64) for size in sizes]


def separately(network: PairLocaliser, step: list[Tensor]) -> PairScores:
    """The scores of four passes of the whole network, each over one pair."""
    anchor, *partners = step
    single, common, difference = [], [], []
    for partner in partners:
        f1, f2 = network.features(anchor), network.features(partner)
        pair = network.pair(f1, f2)
        single.append(torch.cat([network.single(image).mean((2, 3)) for image in (anchor, partner)]))
        common.append(torch.cat([pair.common1.mean((2, 3)), pair.common2.mean((2, 3))]))
        difference.append(torch.cat([pair.difference1.mean((2, 3)), pair.difference2.mean((2, 3))]))
    return PairScores(torch.stack(single), torch.stack(common), difference[0])


def weighted(scores: PairScores) -> Tensor:
    """A loss that weights every score differently."""
    draw = torch.Generator().manual_seed(4)
    parts = [getattr(scores, field.name).double() for field in fields(scores)]
    return sum((part * torch.randn(part.shape, generator=draw, dtype=part.dtype)).sum() for part in parts)


def test_one_position_at_a_time_as_the_specification_writes_it(block, features):
    f1, f2 = features
    pair = block(f1, f2)
    weight, gate = block.extra_linear_e.weight, block.extra_gate_merge.weight[0, :, 0, 0]
    classes = block.extra_gate.weight[:, :, 0, 0]
    for n in range(2):
        own, other = f1[n].flatten(1), f2[n].flatten(1)
        affinity = torch.stack([torch.stack([(weight @ p) @ q for q in other.T]) for p in own.T])
        torch.testing.assert_close(pair.affinity[n], affinity)
        for position in range(12):
            attended = other @ affinity[position].softmax(0)
            gated = own[:, position] * (1 - (gate @ attended).sigmoid())
            torch.testing.assert_close(pair.attended1[n].flatten(1)[:, position], attended)
            torch.testing.assert_close(pair.common1[n].flatten(1)[:, position], classes @ attended)
            torch.testing.assert_close(pair.difference_features1[n].flatten(1)[:, position], gated)
            torch.testing.assert_close(pair.difference1[n].flatten(1)[:, position], classes @ gated)
        for position in range(10):
            attended = own @ affinity[:, position].softmax(0)
            torch.testing.assert_close(pair.attended2[n].flatten(1)[:, position], attended)
            torch.testing.assert_close(pair.gate2[n].flatten()[position], (gate @ attended).sigmoid())


def test_attention_columns_are_weights_of_the_other_image(block, features):
    pair = block(*features)
    assert pair.attention1.shape == (2, 10, 12)
    assert pair.attention2.shape == (2, 12, 10)
    torch.testing.assert_close(pair.attention1.sum(1), torch.ones(2, 12))
    torch.testing.assert_close(pair.attention2.sum(1), torch.ones(2, 10))


def test_every_value_lies_on_the_grid_its_name_says(block, features):
    pair = block(*features)
    for name in ("common", "difference", "attended", "gate", "difference_features"):
        for side, grid in ((1, (3, 4)), (2, (5, 2))):
            assert getattr(pair, f"{name}{side}").shape[2:] == grid


def test_swapping_the_images_transposes_the_affinity_with_its_weights_transposed(block, features):
    f1, f2 = features
    expected = block.affinity(f1, f2)
    block.extra_linear_e.weight = nn.Parameter(block.extra_linear_e.weight.T.clone())
    torch.testing.assert_close(block.affinity(f2, f1).transpose(1, 2), expected)


def test_common_maps_are_those_of_the_whole_block(block, features):
    pair = block(*features)
    for fast, whole in zip(block.common_maps(*features), (pair.common1, pair.common2), strict=True):
        torch.testing.assert_close(fast, whole)


def test_affinity_keeps_its_precision_under_autocast(block, features):
    f1, f2 = (f.bfloat16() for f in features)
    expected = block.affinity(f1.float(), f2.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        affinity = block.affinity(f1, f2)
        pair = block(f1, f2)
    assert affinity.dtype == torch.float32
    torch.testing.assert_close(affinity, expected, rtol=0, atol=0)
    torch.testing.assert_close(pair.attention1.sum(1), torch.ones(2, 12))


def test_layers_keep_the_initial_weights_of_pytorch():
    torch.manual_seed(0)
    block = CoAttention(64, CLASSES)
    for parameter in block.parameters():
        assert parameter.abs().max() <= 64**-0.5
        assert parameter.abs().mean() > 0.4 * 64**-0.5


def test_scores_are_those_of_four_separate_pairs(network, step):
    together, apart = network(*step), separately(network, step)
    for field in fields(PairScores):
        torch.testing.assert_close(getattr(together, field.name).double(), getattr(apart, field.name))
    assert together.single.shape == together.common.shape == (4, 4, CLASSES)
    assert together.difference.shape == (4, CLASSES)


def test_gradients_are_those_of_four_separate_pairs(network, step):
    parameters = dict(network.named_parameters())
    together = torch.autograd.grad(weighted(network(*step)), list(parameters.values()))
    apart = torch.autograd.grad(weighted(separately(network, step)), list(parameters.values()))
    for name, ours, reference in zip(parameters, together, apart, strict=True):
        assert reference.abs().max() > 0, name
        error = (ours - reference).abs().max() / reference.abs().max()
        assert error < 1e-5, name


def test_every_image_passes_the_backbone_once(network, step):
    sizes = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape)))
    network(*step)
    assert sizes == [(6, 3, 48, 48), (2, 3, 36, 36), (2, 3, 96, 96)]


def test_self_pairs_skip_the_difference_branch(network, step):
    calls = []
    network.coattention.extra_gate_merge.register_forward_hook(lambda *_: calls.append(1))
    network(*step)
    assert len(calls) == 2  # both images of the first pair


def test_backbone_is_reachable_and_everything_else_is_head(network, tiny):
    assert network.get_submodule("backbone") is tiny
    head = [name for name, _ in network.named_parameters() if not name.startswith("single.backbone.")]
    assert len(head) == 6 + 2 + 3


def test_maps_for_inference(network, step):
    f1, f2 = network.features(step[0]), network.features(step[3])
    pair = network.pair(f1, f2)
    assert isinstance(pair, CoAttended)
    torch.testing.assert_close(network.common_maps(f1, f2), (pair.common1, pair.common2))
    torch.testing.assert_close(network.single_maps(f1), network.single(step[0]))


def test_published_names_are_those_of_the_network(network):
    published = {}
    for name, value in network.state_dict().items():
        name = name.removeprefix("coattention.").replace("single.fc8.", "vgg.extra_last_conv.")
        published[name.replace("single.extra_convs.", "vgg.extra_convs.").replace("single.backbone.", "vgg.")] = value
    assert "vgg.extra_last_conv.bias" in published
    assert "extra_linear_e.weight" in published
    assert from_published(published).keys() == network.state_dict().keys()
