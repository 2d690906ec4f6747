"""A runner that leaves plots of its studies."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from seedbed.study.plots import remove_plots, write_plots
from seedbed.study.trials import Runner, Search, TrialRecord


@dataclass(frozen=True)
class PlottedRunner(Runner):
    """Runs searches as any runner does, and writes the plots of each into a folder of its kind below `plots`.

    A new one removes the plots of earlier ones there.
    """

    plots: Path = field(kw_only=True)

    def __post_init__(self) -> None:
        for folder in [*self.plots.glob("*/"), self.plots]:
            remove_plots(folder)
            with contextlib.suppress(OSError):  # it holds something else, or does not exist
                folder.rmdir()

    def run(self, search: Search, trials: int) -> list[TrialRecord]:
        """Bring the study of `search` to `trials` finished trials, plot it, and return them, in order."""
        records = super().run(search, trials)
        with self.opened(search) as study:
            write_plots(study, self.plots / search.kind.replace("/", "-"))
        return records
