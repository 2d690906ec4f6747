import pytest
import torch
from torch import nn

from seedbed.nn.backbones import build_backbone
from seedbed.nn.resnet38d import BasicBlock, BottleneckBlock, ResNet38d

# Values of the whole network are compared with the published code in tests/golden/test_eps_network.py.


@pytest.mark.parametrize(("height", "width", "expected"), [(448, 321, (56, 41)), (65, 97, (9, 13))])
def test_maps_have_the_announced_shapes(height, width, expected):
    with torch.device("meta"):
        network = ResNet38d()
        maps = network(torch.zeros(2, 3, height, width))
    assert [m.shape[1] for m in maps] == list(network.channels)
    assert maps[-1].shape[-2:] == expected
    assert [-(-height // m.shape[-2]) for m in maps] == list(network.strides)


def test_shortcut_of_a_reshaping_block_takes_the_activated_input():
    block = BasicBlock(4, 4, 8, stride=2).eval()
    nn.init.zeros_(block.conv_branch2b1.weight)
    x = torch.randn(1, 4, 6, 6)
    output, activated = block(x)
    torch.testing.assert_close(activated, block.bn_branch2a(x).relu())
    torch.testing.assert_close(output, block.conv_branch1(activated))


def test_shortcut_of_other_blocks_is_the_raw_input():
    block = BasicBlock(4, 2, 4).eval()
    nn.init.zeros_(block.conv_branch2b1.weight)
    x = torch.randn(1, 4, 6, 6)
    torch.testing.assert_close(block(x)[0], x)


def test_bottleneck_drops_channels_in_training_only():
    block = BottleneckBlock(4, 8, dilation=2, dropout=0.5)
    for norm in (block.bn_branch2a, block.bn_branch2b1, block.bn_branch2b2):
        norm.eval()
    x = torch.randn(1, 4, 6, 6)
    assert not torch.equal(block(x)[0], block(x)[0])
    block.eval()
    assert torch.equal(block(x)[0], block(x)[0])


def test_it_is_known_by_name_at_stride_eight():
    assert isinstance(build_backbone("resnet38d", 8), ResNet38d)
