import math

import pytest
import torch
from torch import nn

from seedbed.engine.optim import parameter_groups
from seedbed.errors import UserError
from seedbed.nn.deeplab import HEADS, Segmenter, build_segmenter, rates
from seedbed.params import SegmenterParams, TrainParams


@pytest.mark.parametrize("head", sorted(HEADS))
def test_logits_have_the_size_of_the_input_and_every_parameter_learns(tiny, images, head):
    network = Segmenter(tiny, HEADS[head](tiny, 12, 7))
    logits = network(images)
    assert logits.shape == (2, 7, 37, 50)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("head", sorted(HEADS))
def test_a_single_image_can_be_trained_on(tiny, images, head):
    assert Segmenter(tiny, HEADS[head](tiny, 12, 7))(images[:1]).isfinite().all()


@pytest.mark.parametrize(
    ("head", "dilations"),
    [("largefov", {6}), ("largefov-caffe", {6}), ("aspp", {3, 6, 9, 12}), ("v3plus", {6, 12, 18})],
)
def test_rates_follow_the_output_stride(tiny, head, dilations):
    layers = [m for m in HEADS[head](tiny, 12, 7).modules() if isinstance(m, nn.Conv2d)]
    assert {layer.dilation[0] for layer in layers} - {1} == dilations


def test_rates_are_published_for_stride_eight_and_never_zero():
    assert rates((6, 12), 8) == (6, 12)
    assert rates((2, 12), 32) == (1, 3)


def test_aspp_sums_its_branches(tiny, images):
    head = HEADS["aspp"](tiny, 12, 7)
    maps = tiny(images)
    torch.testing.assert_close(head(maps), sum(branch(maps[-1]) for branch in head.branches))


def test_v3plus_sees_the_low_level_map(tiny, images):
    head = HEADS["v3plus"](tiny, 12, 7).eval()
    maps = tiny.eval()(images)
    before = head(maps)
    assert before.shape[-2:] == maps[1].shape[-2:]
    assert not torch.allclose(before, head([maps[0], maps[1] + 1, *maps[2:]]))


def test_segmenter_is_built_from_parameters(images):
    params = SegmenterParams(head="v3plus", backbone="timm/mobilenetv2_050", output_stride=8, channels=16)
    network = build_segmenter(params, num_ids=4)
    assert network.backbone.strides[-1] == 8
    assert network(images).shape == (2, 4, 37, 50)


@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
def test_only_the_backbone_is_frozen_on_request(batchnorm):
    params = SegmenterParams(head="v3plus", backbone="timm/mobilenetv2_050", channels=8, batchnorm=batchnorm)
    network = build_segmenter(params, num_ids=4).train()
    modes = {
        part: {m.training for m in getattr(network, part).modules() if isinstance(m, nn.BatchNorm2d)}
        for part in ("backbone", "head")
    }
    assert modes == {"backbone": {batchnorm == "train"}, "head": {True}}


def test_unknown_head_names_the_nearest():
    params = SegmenterParams.model_construct(**{**SegmenterParams().__dict__, "head": "asp"})
    with pytest.raises(UserError, match="unknown segmenter head 'asp'; did you mean 'aspp'"):
        build_segmenter(params, num_ids=4)


def test_logits_of_caffe_keep_their_corners(tiny, images):
    head = HEADS["largefov-caffe"](tiny, 12, 7)
    logits = head(tiny(images))
    enlarged = Segmenter(tiny, head)(images)
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        torch.testing.assert_close(enlarged[..., row, column], logits[..., row, column])
    step = enlarged[0, 0, 0, :8] - enlarged[0, 0, 0, 0]  # linear from the first pixel on
    torch.testing.assert_close(step, step[1] * torch.arange(8))


def test_the_head_of_caffe_starts_as_in_caffe(tiny):
    tiny.channels = (*tiny.channels[:-1], 64)
    head = HEADS["largefov-caffe"](tiny, 256, 40)
    wide, narrow, score = (layer for layer in head.modules() if isinstance(layer, nn.Conv2d))
    for layer, fan_in in ((wide, 9 * 64), (narrow, 256)):
        assert layer.bias is None
        bound = math.sqrt(3 / fan_in)
        assert 0.99 * bound < layer.weight.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert score.weight.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.02)
    assert score.weight.abs().max() > 3 * math.sqrt(2 / 256)  # normal, not uniform
    assert (score.bias == 0).all()
    assert not any(isinstance(layer, nn.Dropout) for layer in head.modules())


def test_learning_rates_of_the_published_solver():
    params = SegmenterParams(
        head="largefov-caffe",
        backbone="resnet101-caffe",
        output_stride=8,
        channels=16,
        batchnorm="frozen",
        train=TrainParams(lr=1e-3, head_lr_factor=10, bias_lr_factor=2, decay="all", weight_decay=5e-4),
    )
    network = build_segmenter(params, num_ids=4)
    rates_by_name = {}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for group in parameter_groups(network, params.train):
        assert group["weight_decay"] == 5e-4
        rates_by_name |= {names[id(parameter)]: group["lr"] for parameter in group["params"]}
    head = {name: rate for name, rate in rates_by_name.items() if name.startswith("head.")}
    assert head == {
        "head.layers.0.weight": 1e-2,
        "head.layers.2.weight": 1e-2,
        "head.layers.4.weight": 1e-2,
        "head.layers.4.bias": 2e-2,
    }
    backbone = {name: rate for name, rate in rates_by_name.items() if name.startswith("backbone.")}
    assert len(backbone) == 1 + 33 * 3 + 4  # convolutions alone: every norm is frozen
    assert set(backbone.values()) == {1e-3}
    assert rates_by_name.keys() == head.keys() | backbone.keys()


def test_scales_give_logits_at_their_own_size_and_the_highest_of_all(tiny, images):
    network = Segmenter(tiny, HEADS["aspp"](tiny, 12, 7)).eval()
    pyramid = network(images, [0.75, 0.5])
    assert [tuple(level.shape) for level in pyramid] == [(2, 7, 3, 4), (2, 7, 2, 3), (2, 7, 2, 2), (2, 7, 3, 4)]
    torch.testing.assert_close(pyramid[0], network.head(tiny(images)))
    assert (pyramid[3] >= pyramid[0]).all()
    assert (pyramid[3] > pyramid[0]).any()
    first, highest = network(images, [])
    torch.testing.assert_close(first, highest)
