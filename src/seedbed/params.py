"""Validated parameters: what stands in `params.yaml`, with types, ranges, defaults and meanings.

Every block belongs to one kind of stage, so that DVC reruns a stage only when its own block changes. Unknown names and
values out of range are refused with the nearest valid name. Whether a method, a backbone or a rule of a given name
exists is known to the registries above this module; they are asked when a stage resolves its parameters
(`seedbed.stages`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seedbed.errors import UserError
from seedbed.validation import describe_findings

Scalar = bool | int | float | str | None
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
SamplerName = Literal["tpe", "gp", "cmaes", "random", "grid"]
PrunerName = Literal["wilcoxon", "halving", "none"]
SearchKind = Literal["fusion", "crf", "joint"]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A block of parameters: frozen, strict about names.

    What a block inside a block leaves out takes the default that the outer block documents for it: the same kind of
    block has other defaults in another place.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _complete_inner_blocks(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        return {name: _completed(value, defaults.get(name)) for name, value in given.items()}


def _completed(given: Any, default: Any) -> Any:
    """Return the mapping `given` with what it leaves out taken from the block `default`; anything else as it is."""
    if not (isinstance(given, Mapping) and isinstance(default, Block)):
        return given
    values = dict(default)
    return {**values, **{name: _completed(value, values.get(name)) for name, value in given.items()}}


class DataParams(Block):
    """What lies in `data/`."""

    name: str = Field("sample", description="name of the data set, printed at every number measured on it")
    voc: str = Field("VOCdevkit/VOC2012", description="folder in data/ with JPEGImages, masks and ImageSets")
    masks: str = Field("SegmentationClassAug", description="folder of the index masks, inside `voc`")
    train: str = Field("train_aug", description="image list (without .txt) of the training images")
    val: str = Field("val", description="image list of the validation images")
    classes: Literal["voc", "coco"] | list[str] = Field(
        "voc", description="object classes in id order, without background"
    )
    labels: Literal["auto", "json", "npy", "xml", "masks"] = Field(
        "auto", description="where image labels come from; auto takes the first that exists, in this order"
    )
    saliency_train: str | None = Field(
        "DUTS-TR", description="folder in data/ with Images and Masks to train saliency on"
    )
    saliency_test: list[str] = Field(default_factory=lambda: ["DUTS-TE"], description="folders of saliency test sets")


class AugmentParams(Block):
    """Random resize, flip, colour jitter and crop of a training image."""

    resize: Literal["long-side", "factor", "square"] = Field(
        "long-side",
        description="draw the long side in pixels, a factor on the image's own size, or the side of a square (aspect "
        "ratio given up)",
    )
    low: Positive = Field(256, description="smallest side (pixels) or factor")
    high: Positive = Field(512, description="largest side (pixels) or factor")
    step: Positive | None = Field(
        None, description="draw from low, low + step, .. high; null = any whole side, any factor between"
    )
    interpolation: Literal["bicubic", "bilinear"] = Field(
        "bicubic", description="resampling of images and saliency maps, Pillow's on 8 bits"
    )
    rounding: Literal["nearest", "down"] = Field("nearest", description="sides after a resize by a factor")
    crop: Count = Field(448, description="side of the square crop, pixels")
    place: Literal["random", "corner"] = Field(
        "random", description="where an image smaller than the crop lies on its canvas: anywhere, or top left"
    )
    flip: Fraction = Field(0.5, description="probability of a horizontal flip")
    brightness: Fraction = Field(0.3, description="colour jitter, as in torchvision")
    contrast: Fraction = Field(0.3, description="colour jitter, as in torchvision")
    saturation: Fraction = Field(0.3, description="colour jitter, as in torchvision")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(0.1, description="colour jitter, as in torchvision")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) must not exceed high ({self.high})")
        return self

    @model_validator(mode="after")
    def _ends_fit_resize(self) -> Self:
        ends: tuple[float, ...] = (self.low, self.high)
        if self.resize == "factor":
            fits, wanted = all(0.05 <= end <= 8 for end in ends), "factors in 0.05..8"
        else:
            ends = (*ends, self.low + (self.step or 0))
            fits, wanted = all(end >= 16 and float(end).is_integer() for end in ends), "whole numbers of pixels >= 16"
        if not fits:
            raise ValueError(
                f"resize {self.resize} takes {wanted}, not low {self.low:g} and high {self.high:g}: set low and high"
            )
        return self


class TrainParams(Block):
    """The training loop: steps, optimiser, schedule, precision."""

    steps: Count = Field(1000, description="optimiser steps")
    batch: Count = Field(16, description="images per step and process")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="optimiser")
    lr: Positive = Field(0.01, description="learning rate of the backbone at the first step")
    head_lr_factor: Positive = Field(10.0, description="learning rate of new layers = lr x this")
    bias_lr_factor: Positive = Field(1.0, description="learning rate of biases and norms = that of their layer x this")
    weight_decay: Annotated[float, Field(ge=0)] = Field(5e-4, description="weight decay")
    decay: Literal["weights", "all"] = Field(
        "weights", description="what decays: weights alone, or all = biases and norms too"
    )
    momentum: Literal["published", "textbook"] | Annotated[float, Field(ge=0, lt=1)] = Field(
        "textbook",
        description="momentum of sgd: a number, textbook = 0.9, or published = what the method's published code "
        "does (cam, eps: the weight decay, by a slip of its optimiser; else 0.9)",
    )
    nesterov: bool = Field(False, description="Nesterov's form of the momentum")
    schedule: Literal["poly", "steps"] = Field("poly", description="how the rate falls: poly, or in steps")
    power: Positive = Field(0.9, description="schedule poly: lr x (1 - step/horizon)^power")
    horizon: Count | None = Field(None, description="schedule poly: steps until the rate stays; null = steps")
    milestones: list[Count] = Field(
        default_factory=list, description="schedule steps: optimiser steps at which the rate is multiplied by gamma"
    )
    gamma: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="schedule steps: factor at a milestone")
    warmup: Annotated[int, Field(ge=0)] = Field(0, description="steps of linear warm-up")
    clip_norm: Positive | None = Field(None, description="clip the gradient to this norm; null = off")
    precision: Precision = Field("fp32", description="fp32, or bf16 autocast")
    channels_last: bool = Field(
        True, description="memory format of images and weights; changes speed, not results' meaning"
    )
    checkpoint_every: Count = Field(
        200, description="steps between checkpoints; a killed run continues from the last one"
    )
    log_every: Count = Field(20, description="steps between points of the loss curves")
    keep_last: bool = Field(
        False, description="train on the last, incomplete batch of an epoch too (one process only); false = drop it"
    )

    @model_validator(mode="after")
    def _schedule_has_milestones(self) -> Self:
        if (self.schedule == "steps") != bool(self.milestones):
            raise ValueError("milestones belong to schedule: steps, and schedule: steps needs them")
        if self.schedule == "steps" and self.horizon is not None:
            raise ValueError("horizon belongs to schedule: poly")
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"milestones must ascend, not {self.milestones}")
        return self


class SaliencyParams(Block):
    """The saliency maps: where they come from, and the network that makes them."""

    source: str = Field("fpn", description="saliency source: fpn (trained here) or folder (ready-made maps)")
    folder: str | None = Field(None, description="source folder: where the <id>.png lie, relative to data/")
    backbone: str = Field("mobilenet_v2", description="encoder of the fpn")
    weights: str | None = Field(None, description="file with the encoder's initial weights")
    channels: Count = Field(64, description="channels of the decoder")
    size: Count = Field(256, description="long side of the network input at prediction, pixels")
    flip: bool = Field(True, description="average the prediction with that of the mirrored image")
    batch: Count = Field(8, description="images per forward pass at prediction")
    augment: AugmentParams = AugmentParams(low=224, high=320, crop=256)
    train: TrainParams = TrainParams(optimizer="adamw", lr=1e-4, weight_decay=1e-4)


class LocaliserParams(Block):
    """The classification network of one method, whose class activation maps become seeds."""

    method: str | None = Field(
        None, description="method of the registry that this block is a variant of; null = the block's own name"
    )
    backbone: str = Field("resnet38d", description="resnet38d, vgg16-dilated, or any torchvision or timm backbone")
    weights: str | None = Field(None, description="file with the backbone's initial weights")
    trained: str | None = Field(
        None, description="trained weights instead of training (in models/pretrained, by `seedbed weights import`)"
    )
    output_stride: Literal[8, 16, 32] = Field(8, description="stride of the class maps")
    batchnorm: Literal["train", "frozen"] = Field(
        "frozen", description="frozen: running statistics used, never updated"
    )
    freeze_stem: bool = Field(
        False, description="do not train the first blocks that the published recipe of the backbone fixes"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="channel dropout before the classifier")
    options: dict[str, Scalar] = Field(
        default_factory=dict, description="options of the method itself (docs/methods.md): EPS has tau and lam"
    )
    augment: AugmentParams = AugmentParams()
    train: TrainParams = TrainParams(momentum="published")


class SeedsParams(Block):
    """Inference of class maps: over scales, or over related images (mcis)."""

    scales: list[Positive] = Field(
        default_factory=lambda: [0.5, 1.0, 1.5, 2.0], min_length=1, description="input scales"
    )
    flip: bool = Field(True, description="each scale mirrored too")
    long_side: Count | None = Field(None, description="long side of scale 1, pixels; null = the image's own size")
    batch: Count = Field(
        1, description="images per forward pass, mirror images counted; a CPU is fastest with 1, a GPU with many"
    )
    precision: Precision = Field("fp32", description="fp32, or bf16 autocast")
    related: Count = Field(3, description="mcis: related images per class, drawn with `seed`")
    shard: Count = Field(256, description="images per shard of the map store")


class CrfParams(Block):
    """Dense CRF on labels: pairwise potentials of pydensecrf, unary from labels."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.7, description="probability that a given label is right"
    )
    floor: Annotated[float, Field(gt=0, lt=0.01)] = Field(
        1e-5, description="least probability of the segmenter's, before its logarithm (MCIS: 1e-4)"
    )
    iterations: Annotated[int, Field(ge=1, le=50)] = Field(10, description="mean-field iterations")
    gaussian_xy: Positive = Field(3.0, description="smoothness kernel: standard deviation in pixels")
    gaussian_weight: Annotated[float, Field(ge=0)] = Field(3.0, description="smoothness kernel: weight")
    bilateral_xy: Positive = Field(80.0, description="appearance kernel: standard deviation in pixels")
    bilateral_rgb: Positive = Field(13.0, description="appearance kernel: standard deviation in grey levels (0..255)")
    bilateral_weight: Annotated[float, Field(ge=0)] = Field(10.0, description="appearance kernel: weight")


class FusionParams(Block):
    """How class maps and saliency become pseudo-labels."""

    rule: str = Field("threshold", description="fusion rule; none for imported pseudo-labels")
    choose: Literal["published", "study", "given"] = Field(
        "study", description="parameters of the rule: published, chosen by the study, or those in `values`"
    )
    values: dict[str, float] = Field(default_factory=dict, description="parameters of the rule when choose is given")
    crf: bool = Field(False, description="refine the pseudo-labels by dense CRF")


class StudyParams(Block):
    """The study of thresholds and CRF parameters."""

    rules: list[str] = Field(
        default_factory=lambda: ["threshold", "saliency-gate"],
        min_length=1,
        description="fusion rules studied for every method: swept exactly where a rule can be, else tried by Optuna",
    )
    tune_images: Literal["all"] | Annotated[int, Field(ge=0)] = Field(
        50,
        description="labelled training images that choose thresholds; the others report. 0 = published, no mask read; "
        "all = an oracle: chosen and scored on the same images",
    )
    cam_steps: Annotated[int, Field(ge=2, le=200)] = Field(
        60, description="values of a parameter on class scores in the exact sweep"
    )
    saliency_steps: Annotated[int, Field(ge=2, le=64)] = Field(
        16, description="values of a parameter on saliency in the exact sweep"
    )
    sampler: SamplerName = Field("tpe", description="Optuna's sampler")
    trials: Count = Field(60, description="Optuna trials of the fusion study")
    crf_trials: Annotated[int, Field(ge=0)] = Field(12, description="Optuna trials of the CRF study; 0 = none")
    crf_images: Count = Field(
        24,
        description="images of the tune split that CRF trials are scored on; all of it decides between "
        "the winner and the published setting",
    )
    pruner: PrunerName = Field(
        "wilcoxon", description="what ends a CRF trial early: a paired test by image, or successive halving"
    )
    curve_images: list[Count] = Field(
        default_factory=lambda: [5, 20, 100],
        description="numbers of labelled images of the curve that shows what more of them would choose",
    )
    curve_seeds: Annotated[int, Field(ge=0)] = Field(
        10, description="draws of the labelled images at each point of the curve; 0 = no curve"
    )


class SegmenterParams(Block):
    """DeepLab trained on the pseudo-labels, the same for every method."""

    head: str = Field(
        "largefov", description="largefov, aspp or v3plus: DeepLab v1, v2 or v3+; largefov-caffe: that of MCIS"
    )
    backbone: str = Field("mobilenet_v2", description="any backbone; resnet101-caffe: that of DeepLab v2 and MCIS")
    weights: str | None = Field(None, description="file with the backbone's initial weights")
    output_stride: Literal[8, 16, 32] = Field(16, description="stride of the backbone")
    channels: Count = Field(256, description="channels of the head")
    batchnorm: Literal["train", "frozen"] = Field("train", description="frozen: running statistics used, never updated")
    average: Literal["batch", "image"] = Field(
        "batch", description="cross entropy: mean over the batch's valid pixels, or over each image's and then images"
    )
    loss_scales: list[Positive] = Field(
        default_factory=list,
        description="further input scales that the loss sees, and their maximum (deeplab-pytorch: [0.75, 0.5])",
    )
    augment: AugmentParams = AugmentParams(resize="factor", low=0.5, high=1.5, crop=321)
    train: TrainParams = TrainParams(lr=2.5e-4)


class EvaluateParams(Block):
    """Evaluation of segmenters, and the intervals at every number."""

    scales: list[Positive] = Field(default_factory=lambda: [1.0], min_length=1, description="input scales")
    flip: bool = Field(False, description="average with the mirrored image")
    window: Count | None = Field(
        None, description="side of sliding windows, pixels, moved by two thirds of it; null = whole images"
    )
    overlap: Literal["average", "published"] = Field(
        "average",
        description="where windows overlap: their average, or as MCIS's code: the last one over their number, and "
        "no window at all at scales where a side is at most a third of the window",
    )
    crf: bool = Field(False, description="refine predictions by dense CRF")
    batch: Count = Field(8, description="images per forward pass")
    bootstrap: Annotated[int, Field(ge=100)] = Field(1000, description="bootstrap samples behind each 95 % interval")


class Params(Block):
    """All parameters of one experiment: the content of params.yaml."""

    seed: Annotated[int, Field(ge=0)] = Field(0, description="seed of every random choice")
    device: Device = Field("auto", description="auto = CUDA where there is one, else the CPU")
    workers: Annotated[int, Field(ge=0)] = Field(0, description="data loader processes; results do not depend on it")
    jobs: Annotated[int, Field(ge=0)] = Field(0, description="workers for CRF and checks; 0 = one per core")
    crf_backend: Literal["auto", "pydensecrf", "torch"] = Field(
        "auto",
        description="what computes the dense CRF, with equal results; auto = torch, which is faster on every device",
    )
    methods: list[str] = Field(default_factory=lambda: ["cam", "eps"], min_length=1, description="methods to compare")
    data: DataParams = DataParams()
    saliency: SaliencyParams = SaliencyParams()
    localiser: dict[str, LocaliserParams] = Field(default_factory=dict, description="one block per method")
    seeds: SeedsParams = SeedsParams()
    fusion: dict[str, FusionParams] = Field(default_factory=dict, description="one block per method")
    crf: CrfParams = CrfParams()
    study: StudyParams = StudyParams()
    segmenter: SegmenterParams = SegmenterParams()
    evaluate: EvaluateParams = EvaluateParams()

    @model_validator(mode="after")
    def _methods_have_blocks(self) -> Self:
        for method in self.methods:
            for name, block in (("localiser", self.localiser), ("fusion", self.fusion)):
                if method not in block:
                    raise ValueError(f"method '{method}' has no block {name}.{method}")
        return self


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check a parameter file. Raises UserError naming the parameter and the nearest valid name."""
    try:
        raw = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"parameter file {path} does not exist", "cp profiles/sample.yaml params.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    return check_params(raw, str(path))


def check_params(raw: Any, where: str = "params.yaml") -> Params:
    """Validate `raw` (the mapping a parameter file holds). Raises UserError listing every finding."""
    if not isinstance(raw, dict):
        raise UserError(f"{where} must hold a mapping of parameters, not {type(raw).__name__}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        findings = describe_findings(error, Params)
        raise UserError(
            f"{where}: " + "; ".join(findings), f"edit {where} (docs/parameters.md lists every name)"
        ) from None
