from __future__ import annotations

import pytest
from acquire.made_files import CONTENT, CUT, HASTY, MD5, OTHER, left, md5, sha256

from seedbed.acquire.download import Limits, Part, SourceError, redirected
from seedbed.errors import UserError


def test_a_host_without_an_address(fetch) -> None:
    with pytest.raises(UserError, match="resolve"):
        fetch("http://nowhere.invalid/file")


def test_a_passing_failure_is_tried_again(server, fetch) -> None:
    fetch(server.add("a", CONTENT, statuses=[503, 500]), known=MD5)
    assert server.asked()["a"] == 3


def test_a_server_that_asks_for_a_pause_gets_it(server, fetch, monkeypatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("seedbed.acquire.download.time.sleep", pauses.append)
    fetch(server.add("a", CONTENT, statuses=[429], retry_after="7"), known=MD5)
    assert pauses == [7.0]


def test_redirects(server, fetch) -> None:
    server.add("a", CONTENT)
    server.add("b", location="/a")
    assert fetch(server.add("c", location="b"), known=MD5).source == server.url("c")


@pytest.mark.parametrize(
    ("location", "words"),
    [("/loop", "a loop"), ("file:///etc/passwd", "redirects to file:"), ("ftp://127.0.0.1/x", "redirects to ftp:")],
)
def test_redirects_that_are_refused(server, fetch, location, words) -> None:
    with pytest.raises(UserError, match=words):
        fetch(server.add("loop", location=location), known=MD5)


@pytest.mark.parametrize(
    ("url", "target", "place"),
    [
        ("http://a/b/c", "d", "http://a/b/d"),
        ("http://a/b", "https://c/d e", "https://c/d%20e"),
        ("https://a/b", "//c/d", "https://c/d"),
    ],
)
def test_where_redirects_lead(url, target, place) -> None:
    assert redirected(url, target) == place


@pytest.mark.parametrize("target", ["http://a/b", "file:///b", "data:,b", "javascript:b"])
def test_redirects_that_leave_the_web_or_encryption(target) -> None:
    with pytest.raises(SourceError, match="refused"):
        redirected("https://a/b", target)


def test_a_broken_download_continues(server, fetch) -> None:
    url = server.add("a", CONTENT, cut=CUT, cuts=2, etag='"1"')
    assert fetch(url).path.read_bytes() == CONTENT
    assert [(r.range, r.if_range) for r in server.requests] == [
        (None, None),
        (f"bytes={CUT}-", '"1"'),
        (f"bytes={2 * CUT}-", '"1"'),
    ]


def test_a_broken_download_is_named(server, fetch, folder) -> None:
    with pytest.raises(UserError, match=r"broke off.* \(tried 3 times\)"):
        fetch(server.add("a", CONTENT, cut=CUT, ranges=False), known=MD5)
    assert (folder / "file.tar.part").stat().st_size == CUT


def test_every_attempt_that_brings_much_is_granted_another(server, fetch, monkeypatch) -> None:
    monkeypatch.setattr("seedbed.acquire.download.GAIN", 10_000)
    fetch(server.add("a", CONTENT, cut=20_000, etag='"1"'))
    assert server.asked()["a"] == 15


def test_a_server_without_ranges_begins_anew(server, fetch) -> None:
    fetch(server.add("a", CONTENT, cut=CUT, cuts=1, ranges=False, etag='"1"'))
    assert [r.range for r in server.requests] == [None, f"bytes={CUT}-"]


def test_nothing_is_continued_without_a_version_or_a_checksum(server, fetch) -> None:
    fetch(server.add("a", CONTENT, cut=CUT, cuts=1))
    assert [r.range for r in server.requests] == [None, None]


def test_a_weak_etag_is_no_version(server, fetch) -> None:
    date = "Mon, 02 Jan 2012 03:04:05 GMT"
    fetch(server.add("a", CONTENT, cut=CUT, cuts=1, etag='W/"1"', modified=date))
    assert server.requests[1].if_range == date


@pytest.mark.parametrize("ignore_if_range", [False, True])
@pytest.mark.parametrize("known", [None, sha256(OTHER)])
def test_a_file_that_changes_on_the_server_is_fetched_anew(server, fetch, ignore_if_range, known) -> None:
    def change(behaviour) -> None:
        if len(server.requests) == 2:
            behaviour.content, behaviour.etag = OTHER, '"2"'

    url = server.add("a", CONTENT, cut=CUT, cuts=1, etag='"1"', at_request=change, ignore_if_range=ignore_if_range)
    assert fetch(url, known=known).path.read_bytes() == OTHER


def test_a_file_that_grew_on_the_server_is_fetched_anew(server, fetch) -> None:
    def change(behaviour) -> None:
        if len(server.requests) == 2:
            behaviour.content = OTHER + b"more"

    url = server.add("a", CONTENT, cut=CUT, cuts=1, at_request=change)
    assert fetch(url, known=sha256(OTHER + b"more")).path.stat().st_size == len(OTHER) + 4


@pytest.mark.parametrize("shift", [-7, 7])
def test_a_range_of_other_bytes_is_not_taken(server, fetch, shift) -> None:
    assert fetch(server.add("a", CONTENT, cut=CUT, cuts=1, etag='"1"', shift=shift)).path.read_bytes() == CONTENT


def test_a_range_behind_the_end(server, fetch, folder) -> None:
    url = server.add("a", CONTENT[:CUT], cut=CUT // 2, cuts=9)
    with pytest.raises(UserError):
        fetch(url, known=md5(CONTENT[:CUT]), limits=Limits(attempts=1))
    (folder / "file.tar.part").write_bytes(OTHER)
    server.files["a"].cuts = 0
    assert fetch(url, known=md5(CONTENT[:CUT])).path.read_bytes() == CONTENT[:CUT]
    assert [r.range for r in server.requests] == [None, f"bytes={len(OTHER)}-", None]


def test_another_server_continues_where_a_checksum_tells(server, fetch) -> None:
    begun = server.add("a", CONTENT, cut=CUT, ranges=False)
    fetch(begun, server.add("b", CONTENT, etag='"b"'), known=MD5)
    assert (server.requests[-1].range, server.requests[-1].if_range) == (f"bytes={CUT}-", None)


def test_another_server_begins_anew_without_a_checksum(server, fetch) -> None:
    begun = server.add("a", CONTENT, cut=CUT, cuts=3, ranges=False, etag='"1"')
    assert fetch(begun, server.add("b", OTHER, etag='"1"')).path.read_bytes() == OTHER
    assert server.requests[-1].range is None


def test_a_silent_server_is_left(server, fetch) -> None:
    slow = server.add("slow", CONTENT, drip=60)
    assert fetch(slow, good := server.add("good", CONTENT), known=MD5, limits=HASTY).source == good


def test_a_slow_server_is_left_and_named(server, fetch, folder) -> None:
    with pytest.raises(UserError, match=r"sends no more than \d+ bytes per second \(tried 2 times\)"):
        fetch(server.add("slow", CONTENT, drip=0.02), known=MD5, limits=HASTY)
    assert 0 < (folder / "file.tar.part").stat().st_size < 1000


def test_a_file_of_open_length(server, fetch) -> None:
    fetch(server.add("a", CONTENT, chunked=True), known=MD5)


def test_a_file_of_open_length_that_breaks_off(server, fetch) -> None:
    fetch(server.add("a", CONTENT, chunked=True, cut=CUT, cuts=1), known=MD5)
    assert server.requests[1].range == f"bytes={CUT}-"


def test_a_file_without_end(server, fetch, folder) -> None:
    with pytest.raises(UserError, match="sends more than 20,000 bytes"):
        fetch(server.add("a", CONTENT, chunked=True), size=10_000)
    assert left(folder) == set()


def test_a_proxy_of_the_environment_is_used(server, fetch, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.setenv("no_proxy", "")
    server.add("http://far.invalid/a", CONTENT)
    fetch("http://far.invalid/a", known=MD5)


def test_a_note_that_cannot_be_read_is_none(server, fetch, folder) -> None:
    folder.mkdir(parents=True)
    (folder / "file.tar.part").write_bytes(OTHER[:10])
    for text in ("", "[]", "{}", '{"url": 1, "what": 2}'):
        (folder / "file.tar.part.json").write_text(text)
        assert Part(folder / "file.tar.part").note is None
    assert fetch(server.add("a", CONTENT)).path.read_bytes() == CONTENT
