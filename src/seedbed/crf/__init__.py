"""Dense CRF: labels and probabilities refined along the edges of the image."""
