"""The weight files that others have published: what each is, where it comes from, and which network it fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seedbed.errors import unknown_name
from seedbed.nn import classifier, coattention
from seedbed.nn.backbones import build_backbone
from seedbed.nn.classifier import Localiser
from seedbed.nn.coattention import PairLocaliser
from seedbed.nn.features import Backbone
from seedbed.nn.mxnet import from_mxnet, state_name

OUTPUT_STRIDE = 8
Names = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class PublishedFile:
    """What a person needs to know of a weight file before using it, as far as this project knows it."""

    name: str
    file: str
    purpose: str
    origin: str
    terms: str


@dataclass(frozen=True)
class OfficialFile(PublishedFile):
    """An official weight file that is read here, and the network that it fits.

    `parameter`: where its weights are used. `tried`: this project has read the real file, not only generated ones of
    its form. `backbone`: name of the backbone. `build`: the network on it for a number of object classes. `own_names`:
    gives the file's entries the network's names. `dropped`: whether an entry, by its name in the file, is left out on
    purpose. `classifier`: the network's weight whose first side is the number of classes + `extra_maps`; None without.
    """

    parameter: str
    backbone: str
    build: Callable[[Backbone, int], nn.Module]
    own_names: Names
    dropped: Callable[[str], bool] = lambda name: False
    classifier: str | None = None
    extra_maps: int = 0
    tried: bool = False

    def network(self, num_classes: int) -> nn.Module:
        """Return the network for `num_classes` object classes on the meta device: names and shapes, no memory."""
        with torch.device("meta"):
            return self.build(build_backbone(self.backbone, OUTPUT_STRIDE), num_classes)

    def num_classes(self, state: Mapping[str, Tensor]) -> int | None:
        """Return the number of object classes of `state` (network's names); None when no classifier tells."""
        weight = None if self.classifier is None else state.get(self.classifier)
        return None if weight is None or weight.ndim == 0 else weight.shape[0] - self.extra_maps


def find_official(name: str) -> OfficialFile:
    """Return the entry `name`. Raises UserError, with the nearest name, when there is none."""
    if name not in OFFICIAL:
        raise unknown_name("official file", name, OFFICIAL)
    return OFFICIAL[name]


def _oaa_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate OAA's names; the classifier is `extra_last_conv`, or the last layer of `extra_convs`."""
    renamed = {name.replace("extra_convs.6.", "extra_last_conv."): value for name, value in state.items()}
    return classifier.from_published(renamed)


def _backbone_alone(backbone: Backbone, _num_classes: int) -> nn.Module:
    return backbone


_NOT_KNOWN = "not known to this project; see its page"
_EPS_ORIGIN = "github halbielee/EPS (followed here at commit 0c2cdd0); link in its README"
_MCIS_ORIGIN = "github GuoleiSun/MCIS_wsss (followed here at commit 1fc8f75)"
_MCIS_TERMS = "no licence file in the repository"
_OAA_TERMS = "OAA: research and education only; OAA-PyTorch: CC BY-NC-SA 4.0"
_DEEPLAB_ORIGIN = "the ResNet-101 of the DeepLab page, as OAA (github PengtaoJiang/OAA) ships it"
_DEEPLAB_TERMS = "OAA: research and education only; those of the DeepLab page are not known to this project"
_TRAINED = "localiser.METHOD.trained"
_START = "localiser.METHOD.weights"

_FILES = (
    OfficialFile(
        name="eps",
        file="final checkpoint of an EPS run, VOC or COCO (its name is free)",
        purpose="trained EPS localiser: localiser.eps.trained. The released VOC weights are not the paper's (issue 10)",
        origin=_EPS_ORIGIN,
        terms=_NOT_KNOWN,
        parameter=_TRAINED,
        backbone="resnet38d",
        build=lambda backbone, num_classes: Localiser(backbone, num_classes + 1),
        own_names=classifier.from_published,
        classifier="fc8.weight",
        extra_maps=1,
    ),
    OfficialFile(
        name="cam",
        file="final checkpoint of a run of EPS's baseline, VOC or COCO (its name is free)",
        purpose="trained baseline CAM on ResNet38d: localiser.cam.trained",
        origin=_EPS_ORIGIN,
        terms=_NOT_KNOWN,
        parameter=_TRAINED,
        backbone="resnet38d",
        build=Localiser,
        own_names=classifier.from_published,
        classifier="fc8.weight",
    ),
    OfficialFile(
        name="mcis",
        file="pascal_voc_epoch_<n>.pth, n from 0; localisation maps use n = 10",
        purpose="trained MCIS localiser: localiser.mcis.trained. Its README offers no such file: the official code "
        "writes it",
        origin=_MCIS_ORIGIN,
        terms=_MCIS_TERMS,
        parameter=_TRAINED,
        backbone="vgg16-dilated",
        build=PairLocaliser,
        own_names=coattention.from_published,
        classifier="single.fc8.weight",
    ),
    OfficialFile(
        name="oaa",
        file="checkpoint of OAA's VGG16 classifier (its name is not known to this project)",
        purpose="trained OAA localiser: localiser.cam.trained, with backbone vgg16-dilated and options "
        "extra_convs: 3, bias: true. Its names are not from the file itself",
        origin="github PengtaoJiang/OAA, PengtaoJiang/OAA-PyTorch; link in its README",
        terms=_OAA_TERMS,
        parameter=_TRAINED,
        backbone="vgg16-dilated",
        build=lambda backbone, num_classes: Localiser(backbone, num_classes, extra_convs=3, bias=True),
        own_names=_oaa_names,
        classifier="fc8.weight",
    ),
    OfficialFile(
        name="resnet38d",
        file="ilsvrc-cls_rna-a1_cls1000_ep-0001.params (MXNet), or a torch state dict of the same network",
        purpose="ImageNet start of EPS and its baseline: localiser.eps.weights, localiser.cam.weights",
        origin="ademxapp; link in its README",
        terms=_NOT_KNOWN,
        parameter=_START,
        backbone="resnet38d",
        build=_backbone_alone,
        own_names=from_mxnet,
        dropped=lambda name: state_name(name) is None or name.startswith("fc8."),
    ),
    OfficialFile(
        name="vgg16",
        file="vgg16-397923af.pth",
        purpose="ImageNet start of MCIS and OAA: localiser.mcis.weights",
        origin="torchvision",
        terms=_NOT_KNOWN,
        parameter=_START,
        backbone="vgg16-dilated",
        build=_backbone_alone,
        own_names=dict,
        dropped=lambda name: name.startswith("classifier."),
    ),
    OfficialFile(
        name="deeplab-resnet101",
        file="dpl_init.caffemodel once it is converted (docs/methods.md), with the names of torchvision's resnet101",
        purpose="start of the segmenters of EPS and MCIS: segmenter.weights, with backbone resnet101-caffe. "
        "torchvision's own resnet101 would pass, but was trained for another input and another place of the stride",
        origin=_DEEPLAB_ORIGIN,
        terms=_DEEPLAB_TERMS,
        parameter="segmenter.weights",
        backbone="resnet101-caffe",
        build=_backbone_alone,
        own_names=dict,
        dropped=lambda name: name.startswith(("fc.", "classifier.")),
    ),
)

OFFICIAL: dict[str, OfficialFile] = {entry.name: entry for entry in _FILES}
"""The official files by the name that `seedbed weights import --as` takes."""

NOT_READ = (
    PublishedFile(
        name="dpl_init.caffemodel",
        file="dpl_init.caffemodel",
        purpose="start of the segmenters of EPS and MCIS, said to be pre-trained on MS-COCO (OAA issue 9); converted, "
        "it comes in as deeplab-resnet101",
        origin=_DEEPLAB_ORIGIN,
        terms=_DEEPLAB_TERMS,
    ),
    PublishedFile(
        name="MCIS's segmentation .caffemodel",
        file="a .caffemodel (its name is not known to this project)",
        purpose="trained segmenter of MCIS (DeepLab-LargeFOV, ResNet-101), the only trained file of its README",
        origin=f"{_MCIS_ORIGIN}; link in its README",
        terms=_MCIS_TERMS,
    ),
)
"""Official files that this project cannot read: Caffe's."""
