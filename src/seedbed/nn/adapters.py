"""Convolutional networks of torchvision and timm as backbones, at a chosen output stride."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import timm
import torch
import torchvision.models
from timm.models import FeatureInfo
from torch import Tensor, nn

from seedbed.nn.features import Backbone

PROBE = 64  # side of the image that strides are measured on: large enough for stride 32, small enough to cost nothing

_FAMILIES = (
    "convnext",
    "efficientnet",
    "mnasnet",
    "mobilenet",
    "regnet",
    "resnet",
    "resnext",
    "shufflenet",
    "wide_res",
)
_CLASSIFIER = ("avgpool", "classifier", "fc")


def torchvision_names() -> list[str]:
    """Return torchvision's networks whose children, up to the pooling, are one chain: the feature extractor."""
    return [name for name in torchvision.models.list_models(torchvision.models) if name.startswith(_FAMILIES)]


def timm_names() -> list[str]:
    """Return timm's architectures; those without feature maps at the asked stride are refused when they are built."""
    names: list[str] = timm.list_models()
    return names


class TorchvisionBackbone(Backbone):
    """The feature extractor of a torchvision network; parameters keep torchvision's names.

    Strides beyond `output_stride` become dilation, as in DeepLab (arXiv 1412.7062). Per stride the last map is kept.
    """

    def __init__(self, name: str, output_stride: int) -> None:
        super().__init__()
        network = torchvision.models.get_model(name, weights=None)
        dilate(network, output_stride)
        for child, module in network.named_children():
            if child in _CLASSIFIER:
                break
            self.add_module(child, module)
        with _probing(self) as image:
            shapes = [output.shape for output in self._outputs(image)]
        last = {PROBE // shape[-1]: unit for unit, shape in enumerate(shapes) if shape[-1] < PROBE}
        self._kept = tuple(last.values())
        self.strides = tuple(last)
        self.channels = tuple(shapes[unit][1] for unit in self._kept)

    def _outputs(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the output of every layer or block of the chain."""
        for unit in _units(self):
            x = unit(x)
            yield x

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of the images [N,3,h,w]."""
        return [output for unit, output in enumerate(self._outputs(x)) if unit in self._kept]


class TimmBackbone(Backbone):
    """A timm network with `features_only`; of several maps of the same stride the last is kept.

    Raises AssertionError or TypeError when timm cannot build the network at `output_stride`.
    """

    def __init__(self, name: str, output_stride: int) -> None:
        super().__init__()
        # 32 is the native stride of most; not passing it admits networks that know no other.
        options = {} if output_stride == 32 else {"output_stride": output_stride}
        self.network: nn.Module = timm.create_model(name, features_only=True, **options)  # type: ignore[arg-type]
        info: FeatureInfo = self.network.feature_info  # type: ignore[assignment]
        last = {stride: level for level, stride in enumerate(info.reduction())}
        self._kept = tuple(last.values())
        self.strides = tuple(last)
        self.channels = tuple(info.channels()[level] for level in self._kept)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of the images [N,3,h,w]."""
        maps = self.network(x)
        return [maps[level] for level in self._kept]

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Translate timm's names: reducing a network to its feature maps turns `stages.0.x` into `stages_0.x`."""
        flattened = {f"{child.replace('_', '.')}.": f"{child}." for child, _ in self.network.named_children()}

        def translate(name: str) -> str:
            for prefix, own in flattened.items():
                if name.startswith(prefix):
                    return f"network.{own}{name.removeprefix(prefix)}"
            return f"network.{name}"

        return {translate(name): value for name, value in state.items()}


def check_maps(backbone: Backbone, output_stride: int) -> None:
    """Raise ValueError unless `backbone` yields the maps that it announces, ending at `output_stride`."""
    if backbone.strides[-1] != output_stride:
        raise ValueError(f"its feature maps have the strides {', '.join(map(str, backbone.strides))}")
    announced = zip(backbone.channels, backbone.strides, strict=True)
    expected = [(1, channels, PROBE // stride, PROBE // stride) for channels, stride in announced]
    with _probing(backbone) as image:
        found = [tuple(maps.shape) for maps in backbone(image)]
    if found != expected:
        raise ValueError(f"its feature maps of a {PROBE} x {PROBE} image have the shapes {found}, not {expected}")


def dilate(network: nn.Module, output_stride: int) -> None:
    """Turn strides of `network` beyond `output_stride` into dilation, in place.

    Every layer then sees the same input samples as before; maps only become denser. Layers are judged by the stride
    that their input has in the network as it is, measured on one small image.
    """
    strides: dict[nn.Conv2d, int] = {}

    def measure(layer: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        strides[layer] = PROBE // inputs[0].shape[-1]

    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(measure) for layer in convolutions]
    with _probing(network) as image:
        network(image)
    for hook in hooks:
        hook.remove()
    for layer, before in strides.items():
        _dilate_layer(layer, before, output_stride)


def _dilate_layer(layer: nn.Conv2d, before: int, output_stride: int) -> None:
    """Fit `layer`, whose input has the stride `before` in the plain network, to a network of `output_stride`."""
    now = min(before, output_stride)
    growth = before // now
    layer.stride = tuple(min(stride, output_stride // now) for stride in layer.stride)
    if max(layer.kernel_size) > 1:  # squeeze-and-excitation's 1x1 layers see a single pixel, whatever the stride
        layer.dilation = tuple(dilation * growth for dilation in layer.dilation)
        layer.padding = tuple(int(padding) * growth for padding in layer.padding)


def _units(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers and blocks of a chain of modules, plain `nn.Sequential`s opened."""
    for child in module.children():
        if type(child) is nn.Sequential:
            yield from _units(child)
        else:
            yield child


@contextmanager
def _probing(network: nn.Module) -> Iterator[Tensor]:
    """Yield a black image to run through `network`, which is in evaluation mode and without gradients meanwhile."""
    training = network.training
    network.eval()
    with torch.no_grad():
        yield torch.zeros(1, 3, PROBE, PROBE)
    network.train(training)
