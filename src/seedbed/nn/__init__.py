"""Networks: backbones behind one interface, and the heads of localisers, saliency networks and segmenters."""
