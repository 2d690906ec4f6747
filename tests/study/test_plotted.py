from seedbed.params import CrfParams, StudyParams
from seedbed.study.plotted import PlottedRunner
from seedbed.study.protocol import run_study
from seedbed.study.trials import Runner


def test_every_study_is_plotted_and_none_is_changed(inputs, tmp_path):
    params = StudyParams(rules=["threshold", "mcis"], tune_images=5, trials=3, crf_trials=2, crf_images=2)
    plain, plotted = Runner(tmp_path / "a", 0), PlottedRunner(tmp_path / "b", 0, plots=tmp_path / "plots")
    results = [
        run_study(inputs, params, CrfParams(), "threshold", tmp_path / "study", runner, bootstrap=10)
        for runner in (plain, plotted)
    ]
    assert results[0] == results[1]
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"fusion-threshold", "fusion-mcis", "crf"}
    assert all((folder / "history.png").is_file() for folder in (tmp_path / "plots").iterdir())


def test_plots_of_earlier_runs_go(tmp_path):
    plots = tmp_path / "plots"
    for name in ("crf", "fusion-mcis"):
        (plots / name).mkdir(parents=True)
        (plots / name / "history.png").touch()
    (plots / "crf" / "notes.txt").touch()
    PlottedRunner(tmp_path / "journal", 0, plots=plots)
    assert [path for path in plots.rglob("*") if path.is_file()] == [plots / "crf" / "notes.txt"]
    assert not (plots / "fusion-mcis").exists()
    (plots / "crf" / "notes.txt").unlink()
    PlottedRunner(tmp_path / "journal", 0, plots=plots)
    assert not plots.exists()
    PlottedRunner(tmp_path / "journal", 0, plots=plots)
