"""The reference of parameters: every name with its meaning, type, range and default, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from seedbed.methods import METHODS
from seedbed.params import Block, Params
from seedbed.seeds.fusion import RULES
from seedbed.seeds.rules import Parameter

_HEAD = """# Parameters

Every name that `params.yaml` may hold, with its default. This page is the output of `seedbed params`.
"""


def parameters_page() -> str:
    """Return the reference as Markdown: the parameters, then the options of the methods and the values of the rules."""
    lines = [_HEAD]
    for name, block in _blocks(Params.model_construct(), ""):
        doc = (type(block).__doc__ or "").strip().splitlines()[0]
        lines += [f"## {name or 'Top level'}", "", doc, "", *_table(block), ""]
    for method in METHODS.values():
        lines += [f"## localiser.{method.name}.options", "", f"Options of {method.name}: {method.summary}.", ""]
        lines += [*(_table(method.options.model_construct()) if method.options.model_fields else ["None."]), ""]
    for rule in RULES.values():
        lines += [f"## fusion.METHOD.values, rule {rule.name}", "", f"{rule.summary.capitalize()}.", ""]
        lines += [*_rule_table(rule.parameters), ""]
    return "\n".join(lines).rstrip() + "\n"


def _blocks(block: Block, name: str) -> Iterator[tuple[str, Block]]:
    """Yield `block` and every block inside it, each with its dotted name and its defaults."""
    yield name, block
    for field_name, field in type(block).model_fields.items():
        path = f"{name}.{field_name}" if name else field_name
        nested = _block_of(field.annotation)
        if nested is not None and get_origin(field.annotation) is dict:
            yield from _blocks(nested(), f"{path}.METHOD")
        elif nested is not None:
            yield from _blocks(getattr(block, field_name), path)


def _block_of(annotation: Any) -> type[Block] | None:
    """Return the kind of block that a field holds, itself or as the values of a dict."""
    candidates = (annotation, *get_args(annotation)) if get_origin(annotation) in (None, dict) else ()
    found = (item for item in candidates if isinstance(item, type) and issubclass(item, Block))
    return next(found, None)


def _table(block: Block) -> list[str]:
    rows = ["| name | type | default | meaning |", "|---|---|---|---|"]
    for name, field in type(block).model_fields.items():
        if _block_of(field.annotation) is None:
            value = getattr(block, name)
            default = "null" if value is None else value
            rows.append(f"| `{name}` | {_type(field)} | `{default}` | {field.description} |")
    return rows


def _rule_table(parameters: Sequence[Parameter]) -> list[str]:
    if not parameters:
        return ["None."]
    rows = ["| name | range | published | meaning |", "|---|---|---|---|"]
    for one in parameters:
        scale = ", logarithmic" if one.log else ""
        rows.append(f"| `{one.name}` | {one.low} to {one.high}{scale} | {one.published} | {one.meaning} |")
    return rows


def _type(field: FieldInfo) -> str:
    """Return the type and range of a field in words."""
    text = field.annotation.__name__ if field.annotation in (bool, int, float, str) else str(field.annotation)
    text = re.sub(r"Annotated\[(\w+), FieldInfo\(.*?\]\)\]", r"\1", text.replace("typing.", ""))
    text = re.sub(r"Literal\[(.*?)\]", r"one of \1", text).replace("'", "").replace(" |", " or")
    text = re.sub(r"Optional\[(.*)\]$", r"\1 or null", text)
    text = re.sub(r"Union\[(.*), (\S+)\]$", r"\1 or \2", text).replace("NoneType", "null").replace("None", "null")
    bounds = [re.fullmatch(r"(Ge|Gt|Le|Lt)\(\w+=(.*)\)", str(item)) for item in field.metadata]
    return ", ".join([text, *(f"{_SIGNS[bound[1]]} {bound[2]}" for bound in bounds if bound)])


_SIGNS = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
