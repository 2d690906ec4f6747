import io
import json

import optuna
import optuna_dashboard
import pytest
from optuna.distributions import FloatDistribution

from seedbed.errors import UserError
from seedbed.study.show import describe_studies
from seedbed.study.storage import Location
from seedbed.study.trials import Runner, Search

SPACE = {"x": FloatDistribution(0, 1)}


def search(timed=False, kind="fusion/threshold", images=0):
    def objective(trial):
        x = trial.params["x"]
        if not timed and x < 0.2:
            raise optuna.TrialPruned
        return (x, x) if timed else x

    return Search(
        kind,
        "f",
        objective,
        {"x": 0.5},
        lambda params: {"cam": params["x"] * 2},
        space=SPACE,
        timed=timed,
        images=images,
    )


@pytest.fixture(params=["journal", "sqlite"])
def storage(request, tmp_path):
    return tmp_path / "journal" if request.param == "journal" else f"sqlite:///{tmp_path}/study.db"


def test_every_study_is_summarised(storage):
    records = Runner(storage, 0, method="eps").run(search(images=7), 9)
    Runner(storage, 0).run(search(timed=True, kind="crf"), 4)
    first, second = describe_studies(storage)
    assert (first.kind, first.method) == ("fusion/threshold", "eps")
    assert first.name == "fusion/threshold/tpe/0/f"
    assert sum(first.trials.values()) == 9
    assert first.trials["pruned"] == sum(record.state == "pruned" for record in records) > 0
    found = max((record for record in records if record.state == "complete"), key=lambda record: record.miou)
    assert (first.miou, first.setting, first.pareto) == (found.miou, found.values, None)
    assert (first.images, second.images) == (7, None)
    assert (second.kind, second.method, second.pareto) == ("crf+seconds", None, 4)


def test_a_study_without_a_complete_trial_and_one_of_others(tmp_path):
    with Location.of(tmp_path / "journal").opened() as opened:
        optuna.create_study(storage=opened, study_name="mine").enqueue_trial({})
    (only,) = describe_studies(tmp_path / "journal")
    assert (only.name, only.kind, only.images, only.miou, only.setting) == ("mine", None, None, None, {})
    assert only.trials == {"waiting": 1}


def test_nothing_is_made_by_looking(tmp_path):
    for url in (tmp_path / "journal", f"sqlite:///{tmp_path}/study.db"):
        with pytest.raises(UserError, match="does not exist"):
            describe_studies(url)
    assert list(tmp_path.iterdir()) == []


def get(app, path):
    """Return the JSON that a WSGI application answers."""
    status = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    body = b"".join(app(environ, lambda line, headers, error=None: status.append(line)))
    assert status == ["200 OK"]
    return json.loads(body)


def test_the_dashboard_opens_the_same_study(storage):
    records = Runner(storage, 0).run(search(), 5)
    app = optuna_dashboard.wsgi(str(storage))  # as the command optuna-dashboard does
    (listed,) = get(app, "/api/studies")["study_summaries"]
    assert listed["study_name"] == "fusion/threshold/tpe/0/f"
    shown = get(app, f"/api/studies/{listed['study_id']}")["trials"]
    assert len(shown) == 5
    settings = [{one["key"]: one["value"] for one in trial["user_attrs"]}["setting"] for trial in shown]
    assert [json.loads(setting) for setting in settings] == [record.values for record in records]
