from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision

from seedbed.errors import UserError
from seedbed.nn.backbones import build_backbone, known_backbones, resolve_backbone

IMAGE = torch.linspace(-2, 2, 3 * 65 * 97).reshape(1, 3, 65, 97)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(
    "name",
    ["mobilenet_v2", "resnet18", "regnet_y_400mf", "shufflenet_v2_x0_5", "timm/resnet18", "timm/mobilenetv2_050"],
)
def test_maps_have_the_announced_channels_and_strides(name, output_stride):
    backbone = build_backbone(name, output_stride).eval()
    with torch.no_grad():
        maps = backbone(IMAGE)
    assert backbone.strides == tuple(2**i for i in range(1, output_stride.bit_length()))
    expected = [(1, c, -(-65 // s), -(-97 // s)) for c, s in zip(backbone.channels, backbone.strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected


@pytest.mark.parametrize(("dilated", "output_stride"), [((False, False, True), 16), ((False, True, True), 8)])
def test_dilation_equals_that_of_torchvision(dilated, output_stride):
    reference = torchvision.models.resnet50(replace_stride_with_dilation=dilated).eval()
    backbone = build_backbone("resnet50", output_stride).eval()
    backbone.load_state_dict(reference.state_dict(), strict=False)
    trunk = torch.nn.Sequential(*list(reference.children())[:-2])
    with torch.no_grad():
        torch.testing.assert_close(backbone(IMAGE)[-1], trunk(IMAGE))


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "efficientnet_b0", "regnet_y_400mf", "shufflenet_v2_x0_5", "resnet18"]
)
def test_dilation_only_makes_maps_denser(name, output_stride):
    plain, dilated = (build_backbone(name, stride).eval() for stride in (32, output_stride))
    dilated.load_state_dict(plain.state_dict())
    step = 32 // output_stride
    # Squeeze-and-excitation pools over all positions, of which a dilated network has more.
    for network in (plain, dilated):
        for module in network.modules():
            if isinstance(module, torchvision.ops.SqueezeExcitation):
                module.forward = lambda x: x
    with torch.no_grad():
        torch.testing.assert_close(dilated(IMAGE)[-1][..., ::step, ::step], plain(IMAGE)[-1])


def test_imagenet_file_in_half_precision_is_loaded_without_its_classifier(tmp_path):
    whole = torchvision.models.mobilenet_v2()
    state = {name: v.half() if v.is_floating_point() else v for name, v in whole.state_dict().items()}
    file = tmp_path / "imagenet.safetensors"
    safetensors.torch.save_file(state, file)
    backbone = build_backbone("mobilenet_v2", 16, file)
    loaded = backbone.state_dict()
    assert set(state) - set(loaded) == {"classifier.1.weight", "classifier.1.bias"}
    for name, value in loaded.items():
        assert value.dtype in (torch.float32, torch.int64)
        torch.testing.assert_close(value, state[name].to(value.dtype), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilenetv2_050"])
def test_timm_file_of_the_whole_network_is_loaded(tmp_path, name):
    torch.manual_seed(1)
    whole = timm.create_model(name, num_classes=5).eval()
    file = tmp_path / "whole.safetensors"
    safetensors.torch.save_file(whole.state_dict(), file)
    backbone = build_backbone(f"timm/{name}", 32, file).eval()
    with torch.no_grad():
        expected = whole.forward_intermediates(IMAGE[..., :64, :96], intermediates_only=True)[-1]
        torch.testing.assert_close(backbone(IMAGE[..., :64, :96])[-1], expected)


def test_file_of_another_network_is_refused_with_a_table(tmp_path):
    file = tmp_path / "other.safetensors"
    safetensors.torch.save_file(torchvision.models.mnasnet0_5().state_dict(), file)
    with pytest.raises(UserError, match=r"missing, \d+ unexpected") as error:
        build_backbone("mobilenet_v2", 16, file)
    assert "features.0.0.weight" in str(error.value)


def test_plain_names_mean_torchvision_first():
    assert resolve_backbone("resnet50") == "torchvision/resnet50"
    assert resolve_backbone("timm/resnet50") == "timm/resnet50"
    assert resolve_backbone("mobilenetv2_100") == "timm/mobilenetv2_100"
    assert known_backbones()[0] == resolve_backbone("resnet38d") == "resnet38d"


@pytest.mark.parametrize("name", ["resnet38d", "vgg16-dilated", "resnet101-caffe"])
def test_published_networks_have_one_stride(name):
    assert resolve_backbone(name) == name
    with torch.device("meta"):
        assert build_backbone(name, 8).strides[-1] == 8
    with pytest.raises(UserError, match=f"'{name}' cannot run at output stride 16: its stride is 8"):
        build_backbone(name, 16)


def test_unknown_backbone_names_the_nearest():
    with pytest.raises(UserError, match="unknown backbone 'mobilnet_v2'; did you mean 'mobilenet_v2'"):
        build_backbone("mobilnet_v2", 16)


@pytest.mark.parametrize(("name", "output_stride"), [("convnext_tiny", 8), ("timm/densenet121", 8), ("timm/vgg11", 16)])
def test_impossible_stride_is_refused(name, output_stride):
    with pytest.raises(UserError, match=f"'{name}' cannot run at output stride {output_stride}"):
        build_backbone(name, output_stride)


def test_missing_file_is_refused():
    with pytest.raises(UserError, match="does not exist"):
        build_backbone("mobilenet_v2", 16, Path("nowhere.safetensors"))


def test_level_is_the_finest_map_of_at_least_that_stride():
    backbone = build_backbone("mobilenet_v2", 8)
    assert [backbone.level(stride) for stride in (2, 3, 4, 8, 64)] == [0, 1, 1, 2, 2]


def test_building_leaves_the_network_in_training_mode_and_statistics_untouched():
    backbone = build_backbone("mobilenet_v2", 16)
    assert all(module.training for module in backbone.modules())
    assert all(not b.any() for name, b in backbone.named_buffers() if name.endswith("num_batches_tracked"))
