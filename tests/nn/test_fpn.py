import torch

from seedbed.nn.fpn import SaliencyFpn


def test_one_logit_per_input_pixel(tiny, images):
    assert SaliencyFpn(tiny, channels=8)(images).shape == (2, 1, 37, 50)


def test_every_used_part_is_trained(tiny, images):
    network = SaliencyFpn(tiny, channels=8)
    network(images).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_coarse_levels_reach_the_output(tiny, images):
    network = SaliencyFpn(tiny, channels=8).eval()
    before = network(images)
    with torch.no_grad():
        network.laterals[-1].bias.add_(1.0)
    assert not torch.allclose(before, network(images))


def test_levels_start_at_stride_four(tiny):
    assert [lateral.in_channels for lateral in SaliencyFpn(tiny, channels=8).laterals] == [6, 8, 10]
