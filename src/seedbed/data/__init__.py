"""Data sets on disk: readers, image labels, the embedded sample, checks, augmentation."""
