import copy

import timm
import torch
from torch import nn

from seedbed.nn.freeze import freeze, freeze_batchnorm, freeze_untrained


def statistics(network: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in network.buffers()]


def test_frozen_norms_stay_in_evaluation_through_training_mode_and_copies(tiny, images):
    freeze_batchnorm(tiny)
    for network in (tiny.train(), copy.deepcopy(tiny).train()):
        before = statistics(network)
        network(images)
        assert all(torch.equal(a, b) for a, b in zip(before, statistics(network), strict=True))
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(norms) == 4
        assert not any(norm.training for norm in norms)
        assert not any(p.requires_grad for norm in norms for p in norm.parameters())
        assert network.training
        assert network.first[0].weight.requires_grad


def test_unfrozen_norms_do_move(tiny, images):
    before = statistics(tiny)
    tiny.train()(images)
    assert not any(torch.equal(a, b) for a, b in zip(before, statistics(tiny), strict=True))


def test_frozen_equals_evaluation_mode(tiny, images):
    expected = tiny.eval()(images)[-1]
    freeze_batchnorm(tiny)
    torch.testing.assert_close(tiny.train()(images)[-1], expected, rtol=0, atol=0)


def test_freezing_twice_and_norms_of_timm():
    network = timm.create_model("mobilenetv2_050")
    names = list(network.state_dict())
    freeze_batchnorm(network)
    kinds = [type(m) for m in network.modules()]
    freeze_batchnorm(network)
    assert kinds == [type(m) for m in network.modules()]
    assert names == list(network.state_dict())
    before = statistics(network)
    network.train()(torch.randn(2, 3, 32, 32))
    assert all(torch.equal(a, b) for a, b in zip(before, statistics(network), strict=True))


def test_freeze_takes_all_parameters(tiny):
    freeze(tiny)
    assert not any(p.requires_grad for p in tiny.parameters())


def test_untrained_parts_of_the_published_recipe(tiny):
    freeze_untrained(tiny)
    trained = {name.partition(".")[0] for name, p in tiny.named_parameters() if p.requires_grad}
    assert trained == {"rest"}
