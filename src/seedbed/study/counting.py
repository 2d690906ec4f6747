"""Counting the pixels of one image by everything that a sweep depends on: compiled for the CPU, in torch for CUDA.

Both compare as the rules do, ties going to the lower class, and give the same counts.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch

from seedbed import IGNORE
from seedbed.seeds.gates import SALIENCY_LEVELS
from seedbed.study.grid import Grid

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.uint8]
Counted = tuple[Array, Array]

_BLOCK = 4096  # pixels whose strongest classes are found at once: they stay in the first cache
_MANTISSA = 13  # bits that only a float32 has


def count(cams: Array, ids: Array, truth: Mask, saliency: Mask | None, grid: Grid, num_ids: int) -> Counted:
    """Count pixels by winning id, true id (255 left out), cam bin and saliency bin of `grid`.

    `cams`: maps [K,H,W], float16 or float32, of the ascending mask `ids` [K]; without any, id 0 wins. `truth`,
    `saliency`: uint8 [H,W], true ids below `num_ids`. Without a saliency map all pixels are in saliency bin 0. Returns
    the codes that occur, ascending (`numpy.ravel_multi_index` of those four: int32 [M]), and their counts (int32 [M]).
    Raises FloatingPointError for NaN or infinity.
    """
    half = cams.dtype == np.float16
    bits = np.ascontiguousarray(cams, np.float16 if half else np.float32).view(np.int16 if half else np.int32)
    levels, edges = _score_levels(grid.cam, half)
    codes, counts, ordinary = _count(
        bits.reshape(len(bits), truth.size),
        np.asarray(ids if len(ids) else [0], np.int64),
        np.ascontiguousarray(truth).reshape(-1),
        np.ascontiguousarray(np.zeros(0, np.uint8) if saliency is None else saliency).reshape(-1),
        levels,
        edges,
        _saliency_levels(grid.saliency),
        (num_ids, *grid.shape),
    )
    if ordinary:
        return codes, counts
    _check_numbers(np.isfinite(cams).all())
    return count(np.where(cams > 0, cams, np.zeros_like(cams)), ids, truth, saliency, grid, num_ids)


def count_on(
    device: torch.device, cams: Array, ids: Array, truth: Mask, saliency: Mask | None, grid: Grid, num_ids: int
) -> Counted:
    """Do what `count` does, on `device`."""
    scores = torch.as_tensor(cams, device=device).flatten(1).float()
    _check_numbers(torch.isfinite(scores).all())
    winners = torch.as_tensor(np.asarray(ids), device=device, dtype=torch.int64)
    shape = (num_ids, num_ids, *grid.shape)
    true = torch.as_tensor(truth, device=device).flatten().long()
    if len(ids):
        best, rank = scores.clamp(min=0).max(dim=0)  # of equals the first
        winner = winners[rank]
    else:
        best, winner = torch.zeros(true.shape, device=device), torch.zeros_like(true)
    cell = (winner * num_ids + true) * shape[2] + torch.bucketize(best, torch.tensor(grid.cam, device=device))
    cell *= shape[3]
    if saliency is not None:
        levels = torch.as_tensor(_saliency_levels(grid.saliency).astype(np.int64), device=device)
        cell += levels[torch.as_tensor(saliency, device=device).flatten().long()]
    codes, counts = torch.unique(cell[true != IGNORE], return_counts=True)  # sorted
    return codes.int().cpu().numpy(), counts.int().cpu().numpy()


def _check_numbers(finite: Any) -> None:
    if not finite:
        raise FloatingPointError("the class maps hold NaN or infinity")


@functools.lru_cache(maxsize=8)
def _score_levels(cam: tuple[float, ...], half: bool) -> tuple[Array, Array]:
    """Return the cam bin (uint16) by the bits of a score, and the bits of the thresholds (int32).

    A float32 is looked up without the bits that a float16 lacks: if it has any, the thresholds above remain to be
    compared, the last of which nothing exceeds.
    """
    thresholds = np.array(cam, np.float32)
    if half:
        scores = np.arange(2**15, dtype=np.uint16).view(np.float16).astype(np.float32)
    else:
        scores = (np.arange(2 ** (31 - _MANTISSA), dtype=np.uint32) << _MANTISSA).view(np.float32)
    return _bins(thresholds, scores), np.append(thresholds.view(np.int32), np.int32(2**31 - 1))


@functools.lru_cache(maxsize=8)
def _saliency_levels(saliency: tuple[float, ...]) -> Array:
    """Return the saliency bin of each of the 256 grey levels."""
    return _bins(np.array(saliency, np.float32), SALIENCY_LEVELS)


def _bins(thresholds: Array, values: Array) -> Array:
    """Count for each of the `values` the `thresholds` below it (uint16)."""
    return np.searchsorted(thresholds, values, side="left").astype(np.uint16)


@numba.njit(nogil=True, cache=True)
def _count(bits, ids, truth, saliency, levels, edges, saliency_levels, sizes):  # type: ignore[no-untyped-def]
    """Count as `count` says, from maps [K,pixels] as signed integers: those of floats ascend with them from 0 on.

    The last result is whether there was nothing below 0 and nothing infinite; else it ends early. Indices are unsigned,
    or numba would look for negative ones.
    """
    num_ids, cam_bins, saliency_bins = sizes
    block = cam_bins * saliency_bins
    shown, base = _true_ranks(truth, block)
    stride = (len(shown) + 1) * block  # ignored pixels are counted too, behind the others
    cells = np.zeros((2, len(ids) * stride), np.int32)  # by turns: an addition need not wait for the one before it
    best, rank, cell = np.zeros(_BLOCK, bits.dtype), np.zeros(_BLOCK, bits.dtype), np.zeros(_BLOCK, np.uint32)
    for start in range(0, len(truth), _BLOCK):
        size = min(_BLOCK, len(truth) - start)
        if not _strongest(bits, start, size, best, rank):
            return np.zeros(0, np.int32), np.zeros(0, np.int32), False
        _place(best[:size], rank, truth[start : start + size], levels, edges, base, stride, saliency_bins, cell)
        if len(saliency):
            grey = saliency[start : start + size]
            for i in range(size):
                cell[i] += saliency_levels[np.uintp(grey[i])]
        for i in range(size):
            cells[np.uintp(i & 1), np.uintp(cell[i])] += 1
    codes, counts = _occupied(cells[0] + cells[1], ids, shown, num_ids, block)
    return codes, counts, True


@numba.njit(nogil=True, cache=True)
def _true_ranks(truth, block):  # type: ignore[no-untyped-def]
    """Return the true ids that occur, ascending, and where the cells of each of the 256 values of a mask begin."""
    occurs = np.zeros(256, np.bool_)
    for value in truth:
        occurs[value] = True
    shown = np.flatnonzero(occurs[:IGNORE])
    base = np.zeros(256, np.uint32)
    for rank, value in enumerate(shown):
        base[value] = rank * block
    base[IGNORE] = len(shown) * block
    return shown, base


@numba.njit(nogil=True, cache=True)
def _strongest(bits, start, size, best, rank):  # type: ignore[no-untyped-def]
    """Write per pixel the highest of the maps and which it is; return whether all are finite and none below 0."""
    infinity = bits.dtype.type(0x7F800000 if bits.itemsize == 4 else 0x7C00)
    unusual = False
    for k in range(len(bits)):
        scores = bits[k, start : start + size]
        if k == 0:
            for i in range(size):
                unusual |= (scores[i] < 0) | (scores[i] >= infinity)
                best[i] = scores[i]
                rank[i] = 0
        else:
            for i in range(size):
                score = scores[i]
                unusual |= (score < 0) | (score >= infinity)
                better = score > best[i]
                best[i] = score if better else best[i]
                rank[i] = k if better else rank[i]
    return not unusual


@numba.njit(nogil=True, cache=True)
def _place(best, rank, truth, levels, edges, base, stride, saliency_bins, cell):  # type: ignore[no-untyped-def]
    """Write the cell of every pixel, in saliency bin 0."""
    shift = best.dtype.type(_MANTISSA if best.itemsize == 4 else 0)
    for i in range(len(best)):
        place = base[np.uintp(truth[i])] + np.uint32(rank[i]) * np.uint32(stride)
        cell[i] = place + levels[np.uintp(best[i] >> shift)] * np.uint32(saliency_bins)
    if best.itemsize == 2:
        return
    rest = np.int32(2**_MANTISSA - 1)
    fine = False
    for i in range(len(best)):
        fine |= (best[i] & rest) != 0
    if fine:
        for i in range(len(best)):
            cam = np.uintp(levels[np.uintp(best[i] >> shift)])
            while best[i] > edges[cam]:
                cam += np.uintp(1)
                cell[i] += np.uint32(saliency_bins)


@numba.njit(nogil=True, cache=True)
def _occupied(cells, ids, shown, num_ids, block):  # type: ignore[no-untyped-def]
    """Return the codes and the counts of the cells (rank of the winner, rank of the true id, bins) that occur."""
    codes, counts = np.empty(len(cells), np.int32), np.empty(len(cells), np.int32)
    found = 0
    for rank in range(len(ids)):
        for true in range(len(shown)):
            first = (rank * (len(shown) + 1) + true) * block
            code = (ids[rank] * num_ids + shown[true]) * block
            for i in range(block):
                if cells[first + i]:
                    codes[found] = code + i
                    counts[found] = cells[first + i]
                    found += 1
    return codes[:found].copy(), counts[:found].copy()
