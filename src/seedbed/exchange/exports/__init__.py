"""Pseudo-labels, class maps and saliency maps in the layouts that other projects read, with a card of their making."""

from seedbed.exchange.exports.export import write_export
from seedbed.exchange.exports.layouts import LAYOUTS, find_layout
from seedbed.exchange.exports.material import Layout, Material

__all__ = ["LAYOUTS", "Layout", "Material", "find_layout", "write_export"]
