from __future__ import annotations

import torch

from seedbed.methods.cam import CAM


def test_oaa_is_cam_with_more_layers_and_a_bias(small) -> None:
    params = small.model_copy(update={"options": {"extra_convs": 3, "bias": True}})
    network = CAM.network(params, num_classes=3)
    assert [name for name, _ in network.extra_convs.named_parameters()] == [
        f"{place}.{kind}" for place in (0, 2, 4) for kind in ("weight", "bias")
    ]
    assert network.fc8.bias.shape == (3,)
    plain = CAM.network(small, num_classes=3)
    assert len(plain.extra_convs) == 0
    assert plain.fc8.bias is None


def test_maps_are_the_positive_part() -> None:
    assert CAM.class_maps(torch.tensor([-1.0, 0, 2])).tolist() == [0, 0, 2]
