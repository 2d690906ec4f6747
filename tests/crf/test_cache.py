"""The least recently used goes first."""

import numpy as np

from seedbed.crf.cache import Cache


def test_the_least_recently_used_goes_and_the_limit_holds():
    cache, built = Cache(100), []

    def get(key, size=40):
        def build():
            built.append(key)
            return np.zeros(size, np.uint8)

        return cache.get(key, build)

    first = get("a")
    get("b")
    assert get("a") is first
    get("c")  # no room for three: b goes
    assert cache.nbytes == 80
    get("a")
    get("b")
    assert built == ["a", "b", "c", "b"]
    assert get("large", 101).size == 101
    assert cache.nbytes == 80
    get("all", 100)
    assert cache.nbytes == 100
    get("a")
    assert built[-3:] == ["large", "all", "a"]
    assert cache.nbytes == 40
