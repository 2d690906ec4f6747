"""Seedbed: a tracked testbed for saliency-guided weakly supervised semantic segmentation."""

__version__ = "0.1.0"

IGNORE = 255
"""Value of pixels that no score and no loss counts, in masks and in pseudo-labels."""
