import torch

from seedbed.nn.classifier import Localiser, from_published


def test_maps_are_the_classifier_before_pooling(tiny, images):
    network = Localiser(tiny, num_maps=6, dropout=0.5).eval()
    maps, features = network(images), network.features(images)
    assert maps.shape == (2, 6, 3, 4)
    assert features.shape == (2, 10, 3, 4)
    scores = features.mean((2, 3)) @ network.fc8.weight[:, :, 0, 0].T
    torch.testing.assert_close(maps.mean((2, 3)), scores)


def test_dropout_takes_whole_channels_in_training_only(tiny, images):
    network = Localiser(tiny, num_maps=1, dropout=0.5)
    torch.nn.init.ones_(network.fc8.weight)
    tiny.eval()
    network.dropout.train()
    features = network.features(images)
    torch.manual_seed(0)
    kept = network.dropout(torch.ones_like(features))[..., :1, :1]
    torch.manual_seed(0)
    torch.testing.assert_close(network(images), (features * kept).sum(1, keepdim=True))
    assert 0 < (kept == 0).sum() < kept.numel()


def test_classifier_starts_xavier_uniform_without_bias(tiny):
    weight = Localiser(tiny, num_maps=2000).fc8.weight
    bound = (6 / (10 + 2000)) ** 0.5
    assert weight.abs().max() <= bound
    assert weight.abs().mean() > 0.45 * bound


def test_published_names_are_those_of_the_localiser(tiny):
    network = Localiser(tiny, num_maps=3)
    published = {name.removeprefix("backbone."): value for name, value in network.state_dict().items()}
    assert from_published(published).keys() == network.state_dict().keys()


def test_extra_convolutions_lead_from_the_backbone_to_their_width(tiny, images):
    network = Localiser(tiny, num_maps=4, extra_convs=3, bias=True, width=7).eval()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items() if "backbone" not in name}
    assert shapes == {
        "extra_convs.0.weight": (7, 10, 3, 3),
        "extra_convs.0.bias": (7,),
        "extra_convs.2.weight": (7, 7, 3, 3),
        "extra_convs.2.bias": (7,),
        "extra_convs.4.weight": (7, 7, 3, 3),
        "extra_convs.4.bias": (7,),
        "fc8.weight": (4, 7, 1, 1),
        "fc8.bias": (4,),
    }
    features = network.features(images)
    assert features.shape == (2, 7, 3, 4)
    assert features.min() == 0
    torch.testing.assert_close(network(images), network.fc8(features))


def test_extra_convolutions_keep_the_channels_of_the_backbone_by_default(tiny, images):
    assert Localiser(tiny, num_maps=4, extra_convs=1).features(images).shape[1] == 10


def test_layers_behind_extra_convolutions_start_with_the_published_spread(tiny):
    torch.manual_seed(0)
    network = Localiser(tiny, num_maps=50, extra_convs=2, bias=True, width=60)
    for layer, area in ((network.extra_convs[0], 9), (network.extra_convs[2], 9), (network.fc8, 1)):
        assert not layer.bias.any()
        expected = (2 / (area * layer.out_channels)) ** 0.5
        torch.testing.assert_close(layer.weight.std().item(), expected, rtol=0.1, atol=0)


def test_bias_alone_starts_at_zero(tiny):
    assert not Localiser(tiny, num_maps=3, bias=True).fc8.bias.any()


def test_published_names_with_extra_convolutions(tiny):
    network = Localiser(tiny, num_maps=3, extra_convs=3, bias=True)
    published = {
        name.removeprefix("backbone.").replace("fc8.", "extra_last_conv."): value
        for name, value in network.state_dict().items()
    }
    assert from_published(published).keys() == network.state_dict().keys()
