"""Compiled passes over the counts of many images: confusion matrices, areas of gates, and their weighted sums.

The counts of image n are at `offsets[n]` to `offsets[n + 1]`, as `seedbed.study.tables.Tables` has them. Its codes are
winning id, true id, cam bin and saliency bin, of `sizes` (ids, ids, cam bins, saliency bins).
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def confuse(offsets, codes, counts, sizes, inner, outer):  # type: ignore[no-untyped-def]
    """Return the non-zero cells of the confusion matrices, uint32 [3,M] (image, true, predicted), and counts int64 [M].

    `inner`, `outer`: the lowest (cam bin, saliency bin) that pass these gates.
    """
    _, num_ids, cam_bins, saliency_bins = sizes
    cells, sums = np.empty((3, len(codes)), np.uint32), np.empty(len(codes), np.int64)
    matrix = np.zeros((num_ids, num_ids + 1), np.int64)
    found = 0
    for image in range(len(offsets) - 1):
        for place in range(offsets[image], offsets[image + 1]):
            rest, saliency = divmod(codes[place], saliency_bins)
            rest, cam = divmod(rest, cam_bins)
            winner, true = divmod(rest, num_ids)
            predicted = 0
            if cam >= inner[0] and saliency >= inner[1]:
                predicted = winner
            elif cam >= outer[0] and saliency >= outer[1]:
                predicted = num_ids
            matrix[true, predicted] += counts[place]
        for true in range(num_ids):
            for predicted in range(num_ids + 1):
                if matrix[true, predicted]:
                    cells[0, found], cells[1, found], cells[2, found] = image, true, predicted
                    sums[found] = matrix[true, predicted]
                    matrix[true, predicted] = 0
                    found += 1
    return cells[:, :found].copy(), sums[:found].copy()


@numba.njit(nogil=True, cache=True)
def areas_of_gates(offsets, codes, counts, sizes, cam_steps, saliency_steps, shape):  # type: ignore[no-untyped-def]
    """Return what the scores of a rule depend on, per image, as counts with `offsets` again: (offsets, codes, counts).

    The codes are plane, cam step and saliency step, of `shape` (2 * ids, ...). Planes: 0, pixels of true id 0; k in
    1..ids-1, pixels of true id k that k wins; ids + k, pixels that k wins. `cam_steps`, `saliency_steps`: how many of
    the rule's own thresholds the pixels of each bin exceed.
    """
    _, num_ids, cam_bins, saliency_bins = sizes
    steps = shape[1] * shape[2]
    size = shape[0] * steps
    sums = np.zeros(size, np.int64)
    touched = np.empty(size, np.int64)
    starts, planes, found = np.zeros(len(offsets), np.int64), np.empty(2 * len(codes), np.int64), 0
    totals = np.empty(2 * len(codes), np.float64)
    for image in range(len(offsets) - 1):
        number = 0
        for place in range(offsets[image], offsets[image + 1]):
            rest, saliency = divmod(codes[place], saliency_bins)
            rest, cam = divmod(rest, cam_bins)
            winner, true = divmod(rest, num_ids)
            step = cam_steps[cam] * shape[2] + saliency_steps[saliency]
            for plane in (true if true == 0 or true == winner else -1, num_ids + winner):
                if plane < 0:
                    continue
                code = plane * steps + step
                if sums[code] == 0:
                    touched[number] = code
                    number += 1
                sums[code] += counts[place]
        for code in touched[:number]:
            planes[found], totals[found] = code, sums[code]
            sums[code] = 0
            found += 1
        starts[image + 1] = found
    return starts, planes[:found].copy(), totals[:found].copy()


@numba.njit(nogil=True, cache=True)
def weighted_sums(offsets, codes, counts, weights, size):  # type: ignore[no-untyped-def]
    """Add up images by `weights` float64 [rows,N]: float64 [size,rows], the sums by code."""
    by_image = weights.T.copy()
    sums = np.zeros((size, len(weights)), np.float64)
    for image in range(len(offsets) - 1):
        row = by_image[image]
        for place in range(offsets[image], offsets[image + 1]):
            target = sums[np.uintp(codes[place])]
            count = counts[place]
            for index in range(len(row)):
                target[index] += count * row[index]
    return sums
