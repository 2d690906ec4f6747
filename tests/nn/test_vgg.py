import pytest
import torch
import torchvision
from torch import nn

from seedbed.nn.backbones import build_backbone
from seedbed.nn.vgg import Vgg16


@pytest.fixture(scope="module")
def network() -> Vgg16:
    torch.manual_seed(0)
    return Vgg16().eval()


@pytest.fixture(scope="module")
def plain() -> nn.Sequential:
    """torchvision's convolutions and poolings, without the large classifier."""
    torch.manual_seed(1)
    return torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])


def test_names_and_shapes_are_those_of_torchvision(network):
    with torch.device("meta"):
        published = torchvision.models.vgg16(init_weights=False).state_dict()
    ours = {name: value.shape for name, value in network.state_dict().items()}
    assert ours == {name: value.shape for name, value in published.items() if name.startswith("features.")}


@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 97), (71, 50)])
def test_maps_have_the_announced_channels_and_drop_odd_rows(network, height, width):
    with torch.no_grad():
        maps = network(torch.randn(2, 3, height, width))
    expected = [(2, c, height // s, width // s) for c, s in zip(network.channels, network.strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected


def test_imagenet_file_is_loaded_without_its_classifier_and_agrees_before_the_fourth_pooling(tmp_path, plain):
    file = tmp_path / "vgg16.pth"
    state = {f"features.{name}": value for name, value in plain.state_dict().items()}
    torch.save({**state, "classifier.0.weight": torch.zeros(4, 4)}, file)
    network = build_backbone("vgg16-dilated", 8, file).eval()
    x = torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        maps = network(x)
        for level, last in enumerate((4, 9, 16)):
            torch.testing.assert_close(maps[level], plain[:last](x))
        # conv4 and the poolings that change: what torchvision's layers give with pool4 and conv5 as published.
        conv4 = plain[:23](x)
        pooled = nn.functional.max_pool2d(conv4, kernel_size=3, stride=1, padding=1)
        for layer in (24, 26, 28):
            conv = plain[layer]
            pooled = nn.functional.conv2d(pooled, conv.weight, conv.bias, padding=2, dilation=2).relu()
        torch.testing.assert_close(maps[3], pooled)


def test_convolutions_start_with_the_published_spread_and_no_bias(network):
    convolutions = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 13
    for layer in convolutions:
        assert not layer.bias.any()
        torch.testing.assert_close(layer.weight.std().item(), (2 / (9 * layer.out_channels)) ** 0.5, rtol=0.1, atol=0)


def test_gradients_reach_every_parameter(network):
    network(torch.randn(1, 3, 32, 32))[-1].sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for name, parameter in network.named_parameters() if "weight" in name)
