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
