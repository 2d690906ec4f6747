from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
from acquire.made_files import CONTENT, CUT, FIX, MD5, OTHER, SHA256, left, md5

from seedbed.acquire.transfer import fetch_file
from seedbed.errors import UserError


@pytest.mark.parametrize("known", [MD5, SHA256, MD5.upper().replace("MD5", "md5")])
def test_a_published_checksum(server, fetch, folder, checksums, known) -> None:
    url = server.add("a", CONTENT)
    fetched = fetch(url, known=known)
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.digest, fetched.source, fetched.recorded) == (SHA256[7:], url, False)
    assert left(folder) == {"file.tar"}
    assert checksums.expected("file.tar") == SHA256
    assert server.requests[0].encoding == "identity"


def test_an_unknown_checksum_is_recorded_and_said(server, fetch, checksums, caplog) -> None:
    caplog.set_level(logging.INFO, logger="seedbed")
    fetched = fetch(url := server.add("a", CONTENT))
    assert fetched.recorded
    assert f"no published checksum for file.tar: recorded sha256 {SHA256[7:]}" in caplog.text
    entry = json.loads(checksums.path.read_text())["file.tar"]
    assert entry["sha256"] == SHA256[7:]
    assert entry["size"] == len(CONTENT)
    assert entry["source"] == url
    assert len(entry["date"]) == 10


def test_what_was_recorded_must_match_ever_after(server, fetch, folder) -> None:
    first = server.add("a", CONTENT)
    fetch(first).path.unlink()
    assert not fetch(first).recorded
    (folder / "file.tar").unlink()
    with pytest.raises(
        UserError, match=r"(?s)expected sha256.*but got.*recorded in .*checksums.json on 20.* from http"
    ):
        fetch(server.add("b", OTHER))
    assert left(folder) == set()


def test_a_file_that_is_here_is_checked_not_fetched(server, fetch, folder) -> None:
    url = server.add("a", CONTENT)
    fetch(url, known=MD5)
    fetch(url, known=MD5)
    assert server.asked()["a"] == 1
    (folder / "file.tar").write_bytes(OTHER)
    fetch(url, known=MD5)
    assert server.asked()["a"] == 2
    assert (folder / "file.tar").read_bytes() == CONTENT


def test_a_wrong_file_that_is_here_stays_until_the_right_one_came(fetch, folder, dead_url) -> None:
    folder.mkdir(parents=True)
    (folder / "file.tar").write_bytes(OTHER)
    with pytest.raises(UserError):
        fetch(dead_url, known=MD5)
    assert (folder / "file.tar").read_bytes() == OTHER


def test_sources_are_tried_in_order_and_every_reason_is_named(server, fetch, dead_url) -> None:
    urls = [
        dead_url,
        server.url("missing"),
        server.add("forbidden", statuses=[403]),
        server.add("down", statuses=[503] * 9),
        server.add("page", b"please log in", kind="text/html; charset=utf-8"),
        server.add("error", b" \n<!DOCTYPE html>" + CONTENT),
        server.add("tampered", OTHER),
        server.add("other", CONTENT * 3),
        server.add("empty"),
        "gopher://127.0.0.1/file",
        "http://",
    ]
    with pytest.raises(UserError) as raised:
        fetch(*urls, known=MD5, size=len(CONTENT))
    reasons = raised.value.message.splitlines()[1:]
    assert [reason.split(": ")[0].strip() for reason in reasons] == urls
    for reason, words in zip(
        reasons,
        [
            "Connection refused",
            "answers 404",
            "answers 403",
            "answers 503 Service Unavailable (tried 3 times)",
            "sends a web page instead of the file",
            "sends a web page instead of the file",
            f"expected {MD5} but got {md5(OTHER)[4:]}",
            "offers 900,000 bytes where about 300,000 are expected",
            "offers 0 bytes",
            "No connection adapters",
            "Invalid URL",
        ],
        strict=True,
    ):
        assert words in reason
    assert raised.value.fix == FIX
    once = dict.fromkeys(["missing", "forbidden", "page", "error", "tampered", "other", "empty"], 1)
    assert server.asked() == {**once, "down": 3}


def test_the_first_source_that_delivers_is_enough(server, fetch, dead_url) -> None:
    good, spare = server.add("good", CONTENT), server.add("spare", CONTENT)
    assert fetch(dead_url, server.url("missing"), good, spare, known=MD5).source == good
    assert server.asked()["spare"] == 0


def test_no_sources(fetch) -> None:
    with pytest.raises(UserError, match="no source to fetch"):
        fetch()


def test_pieces_that_do_not_fit_are_fetched_once_more(server, fetch, caplog) -> None:
    begun = server.add("a", OTHER, cut=CUT, ranges=False)
    good = server.add("b", CONTENT)
    assert fetch(begun, good, known=MD5).path.read_bytes() == CONTENT
    assert [r.range for r in server.requests if r.path == "b"] == [f"bytes={CUT}-", None]
    assert "fetched from its start" in caplog.text


def test_pieces_that_never_fit_are_fetched_only_once_more(server, fetch, folder) -> None:
    begun = server.add("a", CONTENT, cut=CUT, cuts=3, ranges=False)
    with pytest.raises(UserError, match="but got"):
        fetch(begun, server.add("b", OTHER), known=MD5)
    assert server.asked() == {"a": 3, "b": 2}
    assert left(folder) == set()


def test_a_password_is_not_written_down(server, fetch, checksums, dead_url) -> None:
    with pytest.raises(UserError) as raised:
        fetch(dead_url.replace("://", "://user:secret@"))
    assert "secret" not in str(raised.value)
    assert fetch(server.add("a", CONTENT).replace("://", "://user:secret@")).source == server.url("a")
    assert "secret" not in checksums.path.read_text()


@pytest.mark.parametrize("name", ["../file.tar", "/file.tar", "a/b", "", ".", ".."])
def test_a_name_is_a_name(folder, checksums, name) -> None:
    with pytest.raises(UserError, match="is not the name of a file"):
        fetch_file(name, [], folder, known=None, size=None, checksums=checksums, fix=FIX)


SCRIPT = """
import sys
from pathlib import Path
from seedbed.acquire.checksums import Checksums
from seedbed.acquire.transfer import fetch_file
folder = Path(sys.argv[1])
fetch_file("file.tar", sys.argv[2:], folder, known=None, size=None, fix="",
           checksums=Checksums(folder.parent / "checksums.json"), progress=False)
"""


def begun(folder, url, until) -> subprocess.Popen:
    (scratch := folder.parent / "scratch").mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, folder, url],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(scratch)},
    )
    end = time.monotonic() + 60
    while not until():
        assert process.poll() is None
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_continues(server, fetch, folder, death) -> None:
    url = server.add("a", CONTENT, etag='"1"', drip=0.005, drips=1)
    part = folder / "file.tar.part"
    process = begun(folder, url, lambda: part.exists() and part.stat().st_size > 9)
    process.send_signal(death)
    assert process.wait() != 0
    size = part.stat().st_size
    assert 9 < size < len(CONTENT)
    assert fetch(url).path.read_bytes() == CONTENT
    assert server.requests[-1].range == f"bytes={size}-"
    assert left(folder) == {"file.tar"}


def test_two_processes_do_not_fetch_into_one_folder(server, fetch, folder) -> None:
    url = server.add("a", CONTENT, drip=0.005)
    process = begun(folder, url, lambda: server.requests)
    with pytest.raises(UserError, match="another process works in"):
        fetch(url)
    process.kill()
    process.wait()
    fetch(server.add("b", CONTENT))


def test_a_process_that_died_while_checking_costs_no_download(server, fetch, folder, monkeypatch) -> None:
    class Killed(BaseException):
        pass

    def die(*_, **__) -> None:
        raise Killed

    url = server.add("a", CONTENT, etag='"1"')
    with monkeypatch.context() as patch:
        patch.setattr("pooch.core.hash_matches", die)
        with pytest.raises(Killed):
            fetch(url)
    assert fetch(url).recorded
    assert server.asked()["a"] == 1
    assert left(folder) == {"file.tar"}


def test_a_process_that_died_before_recording_forgets_no_source(server, fetch, folder, monkeypatch, checksums) -> None:
    class Killed(BaseException):
        pass

    def die(*_) -> None:
        raise Killed

    url = server.add("a", CONTENT)
    with monkeypatch.context() as patch:
        patch.setattr("seedbed.acquire.checksums.write_json", die)
        with pytest.raises(Killed):
            fetch(url)
    assert fetch(url).source == url
    assert server.asked()["a"] == 1
    assert left(folder) == {"file.tar"}


def test_a_full_disk_is_no_fault_of_the_source(server, fetch, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seedbed.acquire.download.os.fsync", full)
    with pytest.raises(UserError, match="the disk is full"):
        fetch(server.add("a", CONTENT), server.add("b", CONTENT), known=MD5)
    assert server.asked()["b"] == 0
