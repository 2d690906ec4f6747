"""The one place that knows where an artifact lives, relative to the root of the repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Where everything lies below `root` (the repository, or the folder that DVC runs an experiment in)."""

    root: Path = Path()

    @property
    def data(self) -> Path:
        """The data set, tracked by data.dvc."""
        return self.root / "data"

    def imported(self, kind: str, name: str) -> Path:
        """What `seedbed import` made of other projects' files: `kind` is saliency, seeds or pseudo."""
        return self.data / "imported" / kind / name

    @property
    def data_record(self) -> Path:
        """The file that says which data/ belongs to this commit."""
        return self.root / "data.dvc"

    def data_part(self, part: str) -> Path:
        """Digest of one part of data/, which the stages that read this part alone depend on."""
        return self.root / "reports" / "data" / "parts" / f"{part}.json"

    @property
    def params(self) -> Path:
        """The parameter file of the experiment."""
        return self.root / "params.yaml"

    @property
    def comparison(self) -> Path:
        """The machine-readable comparison."""
        return self.root / "reports" / "compare.json"

    @property
    def page(self) -> Path:
        """The comparison page."""
        return self.root / "reports" / "index.html"

    @property
    def records(self) -> Path:
        """The records of the runs that made what is on disk."""
        return self.root / "reports" / "runs"

    def record(self, stage: str, method: str | None = None) -> Path:
        """Record of the run of `stage` (for `method`)."""
        return self.records / (f"{stage}-{method}.json" if method else f"{stage}.json")

    def checkpoint(self, stage: str, method: str | None = None) -> Path:
        """Folder of the state that a killed training stage continues from; removed when the stage is done."""
        return self.root / ".seedbed" / "checkpoints" / (f"{stage}-{method}" if method else stage)

    def model(self, kind: str, method: str | None = None) -> Path:
        """Folder of a trained network (weights and config); `kind` is saliency, localiser or segmenter."""
        return self.root / "models" / kind / (method or "")

    def saliency_maps(self) -> Path:
        """Folder of the saliency maps in use, `<id>.png`."""
        return self.root / "maps" / "saliency"

    def seeds(self, method: str) -> Path:
        """Map store of `method`: an index and shards."""
        return self.root / "maps" / "seeds" / method

    def pseudo_labels(self, method: str) -> Path:
        """Folder of the pseudo-labels of `method`, `<id>.png`."""
        return self.root / "maps" / "pseudo" / method

    def predictions(self, method: str) -> Path:
        """Folder of the segmenter's predictions on the validation images, `<id>.png`."""
        return self.root / "maps" / "predictions" / method

    def metrics(self, stage: str, method: str | None = None) -> Path:
        """Metrics of a stage as deterministic JSON, small enough for git."""
        return self.root / "reports" / "metrics" / (f"{stage}-{method}.json" if method else f"{stage}.json")

    def confusion(self, stage: str, method: str) -> Path:
        """Per-image confusion matrices behind the metrics of `stage` (pseudo or evaluate-segmenter)."""
        return self.root / "reports" / "confusion" / f"{stage}-{method}.npz"

    def curves(self, stage: str, method: str | None = None) -> Path:
        """Training curves as CSV for `dvc plots`: columns step, lr and the losses."""
        return self.root / "reports" / "curves" / (f"{stage}-{method}.csv" if method else f"{stage}.csv")

    def study(self, method: str) -> Path:
        """Folder of the study of `method`: study.json, best.yaml, trials.csv, table.npz, split.json."""
        return self.root / "reports" / "study" / method

    @property
    def studies(self) -> Path:
        """Folder of Optuna's journals and of searches beside the pipeline; running state, not versioned."""
        return self.root / "studies"

    def journal(self, method: str) -> Path:
        """Optuna journal of the stage of the pipeline that studies `method`."""
        return self.studies / f"{method}.journal"

    def searches_journal(self, method: str) -> Path:
        """Optuna journal of the searches beside the pipeline for `method`."""
        return self.studies / f"{method}-searches.journal"

    def study_plots(self, method: str) -> Path:
        """Folder of the plots of the pipeline's study of `method`."""
        return self.studies / method / "plots"

    def search(self, method: str, kind: str, rule: str) -> Path:
        """Folder of what a search of a `kind` beside the pipeline found for `method` and `rule`."""
        return self.studies / method / f"{kind}-{rule}"
