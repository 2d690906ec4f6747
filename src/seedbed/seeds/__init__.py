"""From trained localisers to pseudo-labels: inference of class maps, the map store, fusion rules."""

from seedbed.seeds.inference import Inference, Job, infer_multi_scale
from seedbed.seeds.related import infer_related

INFERENCES: dict[str, Inference] = {"multi-scale": infer_multi_scale, "related": infer_related}
"""How images become class maps, by the name that a method gives (`seedbed.methods.base.Method.inference`)."""

__all__ = ["INFERENCES", "Inference", "Job"]
