"""The permutohedral lattice in plain torch: Gaussian filters over positions and colours, on any device, in batches.

Adams, Baek and Davis, Fast High-Dimensional Filtering Using the Permutohedral Lattice, Eurographics 2010, in the form
that pydensecrf gives it: a pixel lies in a simplex of the lattice and is spread over its d + 1 corners (splat), the
lattice is blurred along d + 1 axes where only vertices count that some pixel touches, and the pixel reads its corners
back (slice). Mean field amplifies rounding where labels are undecided, so that equal results take equal rounding:
products and sums are separate operations and come in pydensecrf's order, without atomic additions.

A vertex is numbered by a *code*, linear in its coordinates: the neighbour along axis j is `code + strides[j]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from seedbed.errors import UserError

_MOST_CODES = 2**62


@dataclass(frozen=True)
class Kernel:
    """A Gaussian over positions (standard deviation `xy`, pixels) and, given `rgb`, over colours (grey levels)."""

    xy: float
    rgb: float | None = None

    @property
    def dimensions(self) -> int:
        """Number of features of a pixel, d: 2 or 5."""
        return 2 if self.rgb is None else 5

    def scale(self) -> npt.NDArray[np.float32]:
        """Return the factor of each feature [d] in front of the embedding into d + 1 coordinates that sum to zero."""
        axes = np.arange(1, self.dimensions + 1)
        deviation = np.float32(math.sqrt(2 / 3) * (self.dimensions + 1))  # of the blur, in the lattice's units
        return (1 / np.sqrt(axes * (axes + 1)) * float(deviation)).astype(np.float32)

    def strides(self, height: int, width: int) -> tuple[int, ...]:
        """Return what one step along each of the d + 1 axes adds to a vertex's code; they sum to zero.

        No two vertices that an image of this size can touch, nor their neighbours, have the same code.
        Raises UserError where 64 bits do not suffice for that.
        """
        sizes = self._sizes(height, width)
        if math.prod(sizes) > _MOST_CODES:
            raise UserError(
                f"CRF kernel of widths {self.xy} (xy) and {self.rgb} (rgb) is too narrow for {width} x {height} pixels",
                "raise the widths in the block `crf` of params.yaml",
            )
        strides = [math.prod(sizes[:axis]) for axis in range(self.dimensions)]
        return (*strides, -sum(strides))

    def codes(self, height: int, width: int) -> int:
        """Return how many codes `strides` tells apart."""
        return math.prod(self._sizes(height, width))

    def _sizes(self, height: int, width: int) -> list[int]:
        """Return along each of the first d axes how far the lattice reaches, with a margin for neighbours."""
        largest = [(width - 1) / self.xy, (height - 1) / self.xy, *[255 / (self.rgb or 1)] * (self.dimensions - 2)]
        reach = np.asarray(largest, np.float64) * self.scale()
        embedding = np.zeros((self.dimensions + 1, self.dimensions))
        for feature in range(self.dimensions):
            embedding[: feature + 1, feature] = 1
            embedding[feature + 1, feature] = -(feature + 1)
        # Coordinates count in steps of the axes: (y_k - y_d) / (d + 1) is whole at every vertex.
        steps = np.abs((embedding[:-1] - embedding[-1]) * reach).sum(axis=1) / (self.dimensions + 1)
        return [math.ceil(step) + 6 for step in steps]


@dataclass(frozen=True)
class Lattice:
    """The lattice of P pixels, with V vertices, one of them always zero, and its symmetric normalisation.

    `vertices` int32 and `weights` float32 [d+1,P]: the corners of each pixel's simplex and their barycentric weights.
    `pixels`, `shares` [P(d+1)]: the same by vertex, that of vertex v from `starts[v]` on (int32 [V]).
    `neighbours` int32 [d+1,2,V]: both neighbours of a vertex along each axis (the zero vertex where there is none).
    `norm` float32 [P,1]: the factor before and after filtering.
    """

    vertices: Tensor
    weights: Tensor
    pixels: Tensor
    shares: Tensor
    starts: Tensor
    neighbours: Tensor
    norm: Tensor

    @property
    def nbytes(self) -> int:
        """Memory of the tensors."""
        return sum(tensor.nbytes for tensor in vars(self).values())

    def filter(self, values: Tensor) -> Tensor:
        """Return float32 `values` [P,M] filtered, [P,M]."""
        return self._slice(self._blur(self._splat(values * self.norm))) * self.norm

    def _splat(self, values: Tensor) -> Tensor:
        """Return the table [V,M] of what the pixels of each vertex sum to."""
        products = values.index_select(0, self.pixels).mul_(self.shares[:, None])
        every = torch.arange(len(products), dtype=torch.int32, device=values.device)
        return F.embedding_bag(every, products, self.starts, mode="sum")

    def _blur(self, table: Tensor) -> Tensor:
        """Return the `table` blurred along every axis."""
        for before, after in self.neighbours:
            beside = table.index_select(0, before).add_(table.index_select(0, after))
            table = table + beside.mul_(0.5)
        return table

    def _slice(self, table: Tensor) -> Tensor:
        """Return what the pixels read from the `table` at their corners."""
        # A constant of pydensecrf's that the normalisation takes out again; it counts for rounding alone. With one or
        # two labels it scales what has been read, with more the weight.
        share = 1 / (1 + 2.0 ** (1 - len(self.neighbours)))
        before, after = (1.0, share) if table.shape[1] <= 2 else (share, 1.0)
        found = table.new_zeros(self.vertices.shape[1], table.shape[1])
        for corner, weight in zip(self.vertices, self.weights * before, strict=True):
            found += table.index_select(0, corner).mul_(weight[:, None]).mul_(after)
        return found

    def normalised(self) -> Lattice:
        """Return the lattice whose filter is D^-1/2 K D^-1/2, where D holds the row sums of this one's K."""
        sums = self.filter(torch.ones_like(self.norm))
        return replace(self, norm=(sums + 1e-20).double().rsqrt().float())


def join(lattices: Sequence[Lattice]) -> Lattice:
    """Return one lattice of the pixels of all the `lattices`, one after the other; they do not mix."""
    if len(lattices) == 1:
        return lattices[0]
    vertex = pixel = entry = 0
    moved = []
    for one in lattices:
        moved.append((one.vertices + vertex, one.pixels + pixel, one.starts + entry, one.neighbours + vertex))
        vertex, pixel, entry = vertex + len(one.starts), pixel + len(one.norm), entry + len(one.pixels)
    vertices, pixels, starts, neighbours = zip(*moved, strict=True)
    return Lattice(
        torch.cat(vertices, dim=1),
        torch.cat([one.weights for one in lattices], dim=1),
        torch.cat(pixels),
        torch.cat([one.shares for one in lattices]),
        torch.cat(starts),
        torch.cat(neighbours, dim=2),
        torch.cat([one.norm for one in lattices]),
    )


def build(kernel: Kernel, images: Sequence[Tensor]) -> Lattice:
    """Return the lattice of the pixels of all `images` (uint8 [H,W,3], sizes may differ), on their device.

    Where `kernel` has no colours only the sizes of the images matter.
    """
    device = images[0].device
    height, width = (max(image.shape[side] for image in images) for side in (0, 1))
    strides = torch.tensor(kernel.strides(height, width), device=device)
    per_image = kernel.codes(height, width)
    if len(images) * per_image > 2 * _MOST_CODES:
        raise UserError("CRF kernels are too narrow for images in batches", "raise the widths in the block `crf`")
    features, extra = [], []
    for number, image in enumerate(images):
        features.append((_features(kernel, image), number))
        if image.shape[0] * image.shape[1] % 4:
            # pydensecrf takes pixels by four and fills up with zeros, whose vertices take part in the blur
            extra.append((torch.zeros(kernel.dimensions, 1, device=device), number))
    codes, weights = [], []
    for pixels, number in features + extra:
        found, barycentric = _corners(pixels, torch.as_tensor(kernel.scale(), device=device), strides)
        codes.append(found + number * per_image)
        weights.append(barycentric)
    of_images = torch.cat(weights[: len(images)], dim=1)
    return _connect(torch.cat(codes, dim=1), of_images, strides).normalised()


def _features(kernel: Kernel, image: Tensor) -> Tensor:
    """Return positions and colours over their widths, float32 [d,H*W]."""
    height, width, _ = image.shape
    # A divisor of one element: CUDA multiplies by the reciprocal of a plain number, which rounds differently.
    xy = torch.tensor([kernel.xy], dtype=torch.float32, device=image.device)
    x = (torch.arange(width, device=image.device) / xy).expand(height, width)
    y = (torch.arange(height, device=image.device) / xy)[:, None].expand(height, width)
    rows = [x.reshape(1, -1), y.reshape(1, -1)]
    if kernel.rgb is not None:
        rgb = torch.tensor([kernel.rgb], dtype=torch.float32, device=image.device)
        rows.append(image.reshape(-1, 3).T / rgb)
    return torch.cat(rows)


def _corners(features: Tensor, scale: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """Return the codes int64 and barycentric weights float32 [d+1,P] of the corners of each pixel's simplex."""
    axes = len(features) + 1
    rounded, rank, rest = _simplex(_elevate(features, scale))
    slot = (axes - 1 - rank).long()
    order = torch.empty_like(slot).scatter_(0, slot, torch.arange(axes, device=slot.device)[:, None].expand_as(slot))
    descending = rest.gather(0, order)
    weights = torch.cat([descending[:1] + (1 - descending[-1:]), descending[1:] - descending[:-1]])
    first = (rounded.long() * strides[:, None]).sum(dim=0, keepdim=True)
    return torch.cat([first, first - strides[order[:-1]].cumsum(dim=0)]), weights


def _elevate(features: Tensor, scale: Tensor) -> Tensor:
    """Return `features` [d,P] embedded into the hyperplane of d + 1 coordinates that sum to zero, [d+1,P].

    The order of the operations is pydensecrf's: ties between simplices fall as there.
    """
    total = torch.zeros_like(features[0])
    rows = []
    for axis in range(len(features), 0, -1):
        scaled = features[axis - 1] * scale[axis - 1]
        rows.append(total - axis * scaled)
        total = total + scaled
    return torch.stack([total, *reversed(rows)])


def _simplex(elevated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return of each pixel the nearest lattice point of colour 0, the ranks of the rest, and the rest: [d+1,P] each.

    The point and the rest count in steps of d + 1. Ranks float32: 0 = largest rest.
    """
    axes = len(elevated)
    rounded = (elevated * torch.tensor([1 / axes], dtype=torch.float32, device=elevated.device)).round()
    rest = elevated - rounded * axes
    rank = torch.zeros_like(rest)
    for axis in range(axes - 1):
        smaller = (rest[axis] < rest[axis + 1 :]).float()
        rank[axis] += smaller.sum(dim=0)
        rank[axis + 1 :] += 1 - smaller
    rank += rounded.sum(dim=0)  # the point may lie off the hyperplane: bring it back
    shift = (rank < 0).float() - (rank >= axes).float()
    rest = (rest - shift * axes) * torch.tensor([1 / axes], dtype=torch.float32, device=elevated.device)
    return rounded + shift, rank + shift * axes, rest


def _connect(codes: Tensor, weights: Tensor, strides: Tensor) -> Lattice:
    """Return the lattice, not yet normalised, from `codes` [d+1,P+] and `weights` [d+1,P] of the corners.

    Columns of codes beyond P are of no pixel, they only add vertices.
    """
    pixels = weights.shape[1]
    known, numbers = torch.unique(codes, return_inverse=True)
    vertices = numbers[:, :pixels].contiguous()
    # A vertex sums up its pixels in their order, as pydensecrf does: a pixel is at most one of its corners' vertices.
    owners, entries = torch.sort(vertices.T.flatten(), stable=True)
    corners = len(vertices)
    shares = weights.T.flatten()[entries]
    starts = torch.searchsorted(owners, torch.arange(len(known) + 1, device=codes.device), out_int32=True)
    return Lattice(
        vertices.int(),
        weights,
        entries.div(corners, rounding_mode="floor").int(),
        shares,
        starts,
        _neighbours(known, strides),
        weights.new_ones(pixels, 1),
    )


def _neighbours(known: Tensor, strides: Tensor) -> Tensor:
    """Return `Lattice.neighbours` of the vertices of the ascending codes `known` [V-1], the zero vertex being last."""
    zero = len(known)
    wanted = known + torch.stack([strides, -strides], dim=1)[..., None]
    place = torch.searchsorted(known, wanted).clamp_(max=zero - 1)
    found = torch.where(known[place] == wanted, place, zero)
    return F.pad(found, (0, 1), value=zero).int()
