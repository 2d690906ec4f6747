"""Scores: confusion matrices, mIoU in its variants, bootstrap intervals, saliency measures."""
