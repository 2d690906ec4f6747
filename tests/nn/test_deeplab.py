import pytest
import torch
from torch import nn

from seedbed.errors import UserError
from seedbed.nn.deeplab import HEADS, Segmenter, build_segmenter, rates
from seedbed.params import SegmenterParams


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


@pytest.mark.parametrize(("head", "dilations"), [("largefov", {6}), ("aspp", {3, 6, 9, 12}), ("v3plus", {6, 12, 18})])
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
