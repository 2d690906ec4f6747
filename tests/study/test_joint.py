import pytest
from study.brute import confused

from seedbed.params import CrfParams, StudyParams
from seedbed.seeds.fusion import RULES, find_rule
from seedbed.study.crf_study import CrfSpace, Trials
from seedbed.study.inputs import Machine
from seedbed.study.joint import joint_search, rule_space
from seedbed.study.optima import miou
from seedbed.study.refinement import Refinement
from seedbed.study.trials import Runner

PARAMS = StudyParams(cam_steps=6, saliency_steps=4)


@pytest.mark.parametrize("rule", RULES)
def test_the_published_values_of_a_rule_are_in_its_space(rule):
    space = rule_space(rule, PARAMS)
    assert space.values(space.first) == find_rule(rule).published
    assert set(space.distributions) == set(find_rule(rule).published)
    for name, distribution in space.distributions.items():
        assert distribution._contains(space.first[name])


def search_of(inputs, rule, crf, ids=None, **settings):
    ids = ids or inputs.ids[:3]
    items = list(Refinement(inputs, rule, {}, Machine()).items(ids))
    trials = Trials(items, inputs.num_ids, Machine(), **settings)
    return joint_search(rule, rule_space(rule, PARAMS), crf, list(inputs.maps(ids, saliency=True)), trials)


@pytest.mark.parametrize("rule", ["threshold", "saliency-gate", "mcis"])
def test_trials_score_the_labels_of_their_values_refined_by_their_crf(inputs, tmp_path, rule):
    crf = CrfSpace(CrfParams(bilateral_xy=20))
    search = search_of(inputs, rule, crf, pruner="none")
    records = Runner(tmp_path / "journal", 0).run(search, 4)
    assert records[0].values == {**find_rule(rule).published, **crf.values(crf.first)}
    for record in records:
        values = {name: record.values[name] for name in find_rule(rule).published}
        matrices = confused(inputs, rule, values, crf.params(record.values), inputs.ids[:3])
        assert record.miou == float(miou(sum(matrices)))


def test_the_study_is_another_when_what_scores_depend_on_is(make_inputs):
    inputs, crf = make_inputs(), CrfSpace(CrfParams())
    searches = [
        search_of(inputs, "threshold", crf),
        search_of(inputs, "mcis", crf),
        search_of(inputs, "oaa", crf),
        search_of(inputs, "threshold", CrfSpace(CrfParams(confidence=0.8))),
        search_of(inputs, "threshold", crf, ids=inputs.ids[1:4]),
        search_of(inputs, "threshold", crf, timed=True),
    ]
    assert len({search.fingerprint for search in searches}) == len(searches)
    assert search_of(make_inputs(), "threshold", crf).fingerprint == searches[0].fingerprint
