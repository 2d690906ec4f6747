import pytest
import torch
from torch import nn
from torchvision.models import resnet101

from seedbed.data.augment import MEAN, STD
from seedbed.nn import caffe_resnet
from seedbed.nn.backbones import build_backbone
from seedbed.nn.caffe_resnet import CaffeResNet101, caffe_input
from seedbed.nn.weights import save_weights


@pytest.fixture(scope="module")
def backbone():
    """The network with random statistics in its norms."""
    torch.manual_seed(0)
    network = CaffeResNet101().eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.05, 0.2)
    return network


@pytest.fixture(scope="module")
def reference(backbone):
    """torchvision's network with Caffe's strides, dilations and pooling, and the same weights."""
    with torch.device("meta"):
        network = resnet101(replace_stride_with_dilation=[False, True, True])
    network.maxpool.ceil_mode = True
    network.layer2[0].conv1.stride, network.layer2[0].conv2.stride = (2, 2), (1, 1)
    for layer, dilation in ((network.layer3, 2), (network.layer4, 4)):
        layer[0].conv2.dilation = layer[0].conv2.padding = (dilation, dilation)
    network.fc = nn.Identity()
    network.load_state_dict(backbone.state_dict(), assign=True)
    return network.eval()


@pytest.mark.parametrize(("height", "width"), [(65, 57), (64, 71)])
def test_maps_are_those_of_torchvisions_network_in_caffes_form(backbone, reference, height, width):
    image = torch.randn(1, 3, height, width)
    with torch.no_grad():
        maps = backbone(image)
        conv1 = reference.relu(reference.bn1(reference.conv1(caffe_input(image))))
        res2 = reference.layer1(reference.maxpool(conv1))
        res5 = reference.layer4(reference.layer3(reference.layer2(res2)))
    assert res5.std() > 0
    for found, expected in zip(maps, (conv1, res2, res5), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("side", "quarter", "eighth"), [(321, 81, 41), (401, 101, 51), (64, 17, 9), (63, 17, 9)])
def test_sides_of_the_maps(backbone, side, quarter, eighth):
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, side, 9))
    assert [found.shape[1] for found in maps] == list(backbone.channels)
    assert [found.shape[2] for found in maps] == [(side + 1) // 2, quarter, eighth]
    assert (quarter, eighth) == ((side + 1) // 4 + 1, (side + 1) // 8 + 1)


def test_names_and_shapes_are_torchvisions(backbone):
    with torch.device("meta"):
        theirs = {name: value.shape for name, value in resnet101().state_dict().items() if not name.startswith("fc.")}
    assert {name: value.shape for name, value in backbone.state_dict().items()} == theirs


def test_the_norms_are_caffes(backbone):
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 104
    assert {layer.eps for layer in norms} == {1e-5}


def test_the_stride_is_in_the_first_convolution_of_a_block(backbone):
    strided = [name for name, m in backbone.named_modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    assert strided == ["conv1", "layer2.0.conv1", "layer2.0.downsample.0"]


def test_input_becomes_bgr_in_grey_levels():
    assert (caffe_resnet.MEAN, caffe_resnet.STD) == (MEAN, STD)
    levels = torch.randint(0, 256, (2, 3, 4, 5)).double()
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    normalised = ((levels.float() / 255) - mean) / std
    expected = levels.flip(1) - torch.tensor([104.008, 116.669, 122.675])[:, None, None]
    torch.testing.assert_close(caffe_input(normalised), expected.float(), rtol=0, atol=1e-4)


def test_the_mean_colour_is_within_a_grey_level_of_caffes():
    assert caffe_input(torch.zeros(1, 3, 1, 1)).abs().max() <= 1.0001


def test_a_file_under_torchvisions_names_fits(backbone, tmp_path):
    holder = nn.Module()
    for name, child in backbone.named_children():
        holder.add_module(name, child)
    holder.fc = nn.Linear(2048, 10)
    save_weights(tmp_path, holder, {})
    loaded = build_backbone("resnet101-caffe", 8, tmp_path)
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)
