"""What parameters can name: the entries of every registry, as tables."""

from __future__ import annotations

import inspect

from rich.console import Console
from rich.table import Table

from seedbed.methods import METHODS
from seedbed.nn.backbones import known_backbones
from seedbed.nn.deeplab import HEADS
from seedbed.saliency import SOURCES
from seedbed.seeds.fusion import RULES


def show() -> None:
    """Print methods, saliency sources, fusion rules with their parameters, segmenter heads and backbones."""
    console = Console()
    _table(console, "methods", [(method.name, f"{method.summary} ({method.source})") for method in METHODS.values()])
    _table(console, "saliency sources", [(source.name, source.summary) for source in SOURCES.values()])
    rules = [
        (
            rule.name,
            rule.summary
            + "".join(
                f"\n  {p.name} {p.low}..{p.high}{' (log)' if p.log else ''}, published {p.published}: {p.meaning}"
                for p in rule.parameters
            ),
        )
        for rule in RULES.values()
    ]
    _table(console, "fusion rules", rules)
    _table(console, "segmenter heads", [(name, inspect.getdoc(head) or "") for name, head in HEADS.items()])
    console.print(f"[bold]backbones[/bold]: {', '.join(known_backbones()[:40])}, ... and every timm name (timm/NAME)")


def _table(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, text in rows:
        table.add_row(name, text)
    console.print(table)
