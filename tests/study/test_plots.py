import optuna
import pytest
from matplotlib import pyplot as plt
from optuna.distributions import FloatDistribution, IntDistribution
from PIL import Image

from seedbed.study.plots import ENOUGH, write_plots
from seedbed.study.trials import Runner, Search

SPACE = {"x": FloatDistribution(0.01, 1, log=True), "y": IntDistribution(0, 9), "one": IntDistribution(1, 1)}


def write(folder, trials, names=("x", "y", "one"), timed=False):
    def objective(trial):
        score = 1 - sum((value - 0.4) ** 2 for value in trial.params.values()) / 100
        if not timed:
            trial.report(score, 1)
            if trial.number == 3:
                raise optuna.TrialPruned
        return (score, trial.params["x"]) if timed else score

    space = {name: SPACE[name] for name in names}
    published = {"x": 0.5, "y": 0, "one": 1}
    search = Search(
        "test",
        "same",
        objective,
        {name: published[name] for name in names},
        lambda params: {f"the {name}": value / 10 for name, value in params.items()},
        space=space,
        timed=timed,
    )
    runner = Runner(folder / "journal", 0)
    runner.run(search, trials)
    with runner.opened(search) as study:
        return write_plots(study, folder)


def names(paths):
    return {path.stem for path in paths}


def test_a_study_is_plotted_the_same_every_time(tmp_path):
    runs = [write(tmp_path / name, ENOUGH + 3) for name in ("a", "b")]
    assert names(runs[0]) == {"history", "slice", "importance", "contour"}
    for one, other in zip(*runs, strict=True):
        assert one.read_bytes() == other.read_bytes()
        with Image.open(one) as image:
            assert image.format == "PNG"
            assert image.convert("L").getextrema()[0] < 100
    assert plt.get_fignums() == []


def test_a_small_study_has_fewer_plots(tmp_path):
    assert names(write(tmp_path / "few", 5)) == {"history", "slice", "contour"}
    assert names(write(tmp_path / "one parameter", 12, names=("x",))) == {"history", "slice"}
    assert names(write(tmp_path / "no parameter", 3, names=("one",))) == {"history"}
    assert names(write(tmp_path / "one trial", 1)) == {"history"}
    assert write_plots(optuna.create_study(), tmp_path / "none") == []


def test_plots_of_an_earlier_run_go(tmp_path):
    write(tmp_path, ENOUGH + 3)
    (tmp_path / "mine.png").touch()
    (tmp_path / "journal").unlink()
    assert names(write(tmp_path, 3, names=("x",))) == names(tmp_path.glob("*.png")) - {"mine"} == {"history", "slice"}
    write_plots(optuna.create_study(), tmp_path)
    assert names(tmp_path.glob("*.png")) == {"mine"}


def test_two_objectives_have_a_front(tmp_path):
    paths = write(tmp_path, 12, timed=True)
    assert names(paths) == {"history", "slice", "importance", "contour", "pareto"}
    assert {path.name for path in tmp_path.glob("*.png")} == {path.name for path in paths}


def test_a_study_that_others_made_is_plotted_too(tmp_path):
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert names(write_plots(study, tmp_path)) == {"history", "slice"}


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)
