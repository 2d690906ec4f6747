"""The segmenter: DeepLab trained on pseudo-labels, and its predictions."""
