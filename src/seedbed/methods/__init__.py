"""Registry of methods: one file and one line each."""

from __future__ import annotations

from seedbed.errors import unknown_name
from seedbed.methods.base import Method
from seedbed.methods.cam import CAM
from seedbed.methods.eps import EPS
from seedbed.methods.mcis import MCIS

METHODS: dict[str, Method] = {method.name: method for method in (CAM, EPS, MCIS)}


def get_method(name: str) -> Method:
    """Return the method of that name. Raises UserError with the nearest known name."""
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]
