"""What pydantic finds wrong with a block of parameters, in sentences for people."""

from __future__ import annotations

import difflib
from typing import get_args

from pydantic import BaseModel, ValidationError


def describe_findings(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one sentence per finding of pydantic, unknown names with the nearest valid one."""
    sentences = []
    for finding in error.errors():
        location = tuple(
            part for part in finding["loc"] if not (isinstance(part, str) and part.startswith(("list[", "literal[")))
        )
        name = ".".join(str(part) for part in location)
        if finding["type"] == "extra_forbidden":
            known = _field_names(model, location[:-1])
            near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
            sentences.append(
                f"unknown parameter '{name}'"
                + (f"; did you mean '{near[0]}'?" if near else f" (known: {', '.join(known)})")
            )
        else:
            message = finding["msg"].removeprefix("Value error, ")
            given = f" (given: {finding['input']!r})" if isinstance(finding["input"], int | float | str) else ""
            sentences.append(f"{name}: {message}{given}" if name else message)
    return sentences


def _field_names(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the parameter names of the block at `location` below `model`."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None:  # a method's name inside a dict of blocks
            continue
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return sorted(model.model_fields)
