"""Registry of methods: one file and one line each.

A block `localiser.<name>` is of the method that it names, else of the method of its own name: any number of blocks of
one method stand side by side.
"""

from __future__ import annotations

from seedbed.errors import UserError, unknown_name
from seedbed.methods.base import Method
from seedbed.methods.cam import CAM
from seedbed.methods.eps import EPS
from seedbed.methods.imported import IMPORTED, ImportedMethod
from seedbed.methods.mcis import MCIS
from seedbed.params import LocaliserParams

AnyMethod = Method | ImportedMethod
"""A method that is trained here, or one that others have run."""

METHODS: dict[str, AnyMethod] = {method.name: method for method in (CAM, EPS, MCIS, IMPORTED)}


def get_method(name: str) -> AnyMethod:
    """Return the method of that name. Raises UserError with the nearest known name."""
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]


def method_of(name: str, block: LocaliserParams) -> AnyMethod:
    """Return the method of the `block` localiser.<name>. Raises UserError with the nearest known name."""
    try:
        return get_method(block.method or name)
    except UserError as error:
        raise UserError(error.message, f"set localiser.{name}.method in params.yaml to one of them") from None
