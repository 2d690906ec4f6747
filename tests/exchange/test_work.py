import pytest

from seedbed.exchange.work import work_through


def double(part):
    return [2 * item for item in part]


@pytest.mark.parametrize(("count", "jobs"), [(0, 1), (5, 1), (7, 2), (1100, 2)])
def test_results_come_in_order(count, jobs):
    results = list(work_through("test", double, list(range(count)), jobs, chunk=3))
    assert [item for part in results for item in part] == [2 * item for item in range(count)]
    assert len(results) == -(-count // 3)
