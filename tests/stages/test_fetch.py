"""The commands on public data sets, as a user meets them."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from acquire.miniature import PAIRS, SALIENCY, served, write_additions, write_archives, write_folder

from seedbed.acquire.library import Library
from seedbed.errors import UserError
from seedbed.stages.fetch import fetch, open_library, resolve, show


@pytest.fixture
def library(tmp_path: Path, monkeypatch) -> Library:
    monkeypatch.setenv("SEEDBED_CATALOGUE", str(write_additions(tmp_path / "mine.yaml")))
    return open_library(tmp_path / "library")


def given(folder: Path, *names: str) -> list[Path]:
    """Write unpacked folders of saliency sets."""
    members = {name: tuple(one for found in SALIENCY[name].values() for one in found) for name in names}
    return [write_folder(folder / name, members[name]) for name in names]


@pytest.fixture
def printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return lambda: " ".join(capsys.readouterr().out.split())


class TestOpenLibrary:
    def test_the_option_comes_before_the_variable_before_the_repository(self, tmp_path):
        environ = {"SEEDBED_DATASETS": "/elsewhere"}
        assert open_library(tmp_path, environ=environ).root == tmp_path
        assert open_library(environ=environ).root == Path("/elsewhere")
        assert open_library(environ={}).root == Path("datasets")
        assert open_library(root=tmp_path, environ={}).root == tmp_path / "datasets"

    def test_a_file_is_no_library(self, tmp_path):
        (tmp_path / "datasets").touch()
        with pytest.raises(UserError, match="is a file"):
            open_library(root=tmp_path, environ={})


class TestFetch:
    def test_it_ends_with_what_to_do_next(self, library, tmp_path, caplog):
        caplog.set_level(logging.INFO)
        fetch(["ecssd", "sod"], library.root, given(tmp_path, "ecssd", "sod"))
        assert caplog.messages[-1] == "next: seedbed data use ecssd sod"
        caplog.clear()
        fetch(["sod"], library.root)
        assert caplog.messages == [
            f"sod: here and intact, {2 * PAIRS} files",
            "next: seedbed data use sod",
        ]

    def test_interrupted_it_says_how_to_go_on(self, library, caplog, monkeypatch):
        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("seedbed.stages.fetch.fetch_sets", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch(["sod"], library.root)
        assert "run the same command again" in caplog.text

    def test_no_name_lists_the_known_ones(self, library):
        with pytest.raises(UserError, match="known: voc12, sbd"):
            fetch([], library.root)


class TestShow:
    def test_all_sets_are_a_table_that_fits(self, library, tmp_path, capsys, monkeypatch):
        fetch(["ecssd", "sod"], library.root, given(tmp_path, "ecssd", "sod"))
        next(library.folder("sod").rglob("1.png")).unlink()
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        show(library.root)
        lines = capsys.readouterr().out.splitlines()
        table = [line for line in lines if "│" in line]
        assert max(map(len, table)) <= 100
        states = {row[1].strip(): row[4].strip() for row in (line.split("│") for line in table) if row[1].strip()}
        assert states == dict.fromkeys(library.catalogue, "not here") | {"ecssd": "intact", "sod": "damaged"}
        assert "sod: DAMAGED: 1 missing, as SOD/Masks/1.png; seedbed data fetch sod mends it" in lines

    def test_a_damaged_record_does_not_end_the_list(self, library, tmp_path, printed):
        fetch(["ecssd", "sod"], library.root, given(tmp_path, "ecssd", "sod"))
        (library.root / "state" / "ecssd.json").write_text("{")
        show(library.root)
        text = printed()
        assert "ecssd: DAMAGED: its record is missing or damaged; seedbed data fetch ecssd mends it" in text
        assert "pascal-s" in text

    def test_it_says_content_size_terms_place_and_state(self, library, printed):
        show(library.root, names=list(library.catalogue))
        text = printed()
        for name, entry in library.catalogue.items():
            assert name in text
            assert entry.content.split(";")[0] in text
            assert entry.terms in text
            assert f"data/{entry.place}" in text
        assert text.count("│ here │ no │") == len(library.catalogue)
        assert "SOD.zip: by hand only" in text
        assert "www2.eecs.berkeley.edu" in text

    def test_it_says_what_is_here_and_what_is_damaged(self, library, tmp_path, printed):
        fetch(["ecssd", "sod"], library.root, given(tmp_path, "ecssd", "sod"))
        show(library.root, names=["sod"])
        assert f"yes, intact (names and sizes of files): {2 * PAIRS} files" in printed()
        file = next(library.folder("sod").rglob("1.png"))
        file.unlink()  # and not changed in place: it is a hard link to the folder that was given
        file.write_bytes(bytes(3))
        show(library.root, True, ["sod", "ecssd"])
        text = printed()
        assert "DAMAGED: 1 modified, as SOD/Masks/1.png; seedbed data fetch sod mends it" in text
        assert "yes, intact (every file verified)" in text

    def test_an_unknown_name_is_told_the_nearest(self, library):
        with pytest.raises(UserError, match="did you mean 'ecssd'"):
            show(library.root, names=["ecsd"])


class TestResolve:
    def test_names_and_folders_become_folders(self, library, tmp_path):
        fetch(["sod"], library.root, given(tmp_path, "sod"))
        mine = str(tmp_path / "sod")
        assert resolve(["sod", mine], library) == [("sod", library.folder("sod")), (mine, tmp_path / "sod")]

    def test_what_is_not_here_is_to_be_fetched(self, library):
        with pytest.raises(UserError, match="ecssd is not in the library") as caught:
            resolve(["ecssd"], library)
        assert caught.value.fix == "seedbed data fetch ecssd"

    def test_what_is_damaged_is_not_used(self, library, tmp_path):
        fetch(["sod"], library.root, given(tmp_path, "sod"))
        next(library.folder("sod").rglob("1.png")).unlink()
        with pytest.raises(UserError, match="sod is damaged"):
            resolve(["sod"], library)

    def test_what_was_tampered_with_is_not_used_even_if_no_size_tells(self, library, tmp_path):
        fetch(["sod"], library.root, given(tmp_path, "sod"))
        file = next(library.folder("sod").rglob("1.png"))
        file.write_bytes(file.read_bytes()[::-1])
        with pytest.raises(UserError, match=r"sod is damaged \(1 modified, as SOD/Masks/1\.png"):
            resolve(["sod"], library)

    def test_what_is_neither_name_nor_folder_is_told_the_nearest_name(self, library, tmp_path):
        (tmp_path / "file").touch()
        for source in ("duts-tt", str(tmp_path / "file")):
            with pytest.raises(UserError, match="there is no folder of that name"):
                resolve([source], library)

    def test_a_set_comes_with_what_it_needs(self, library, tmp_path, monkeypatch):
        status = library.status("sod")
        monkeypatch.setattr(Library, "status", lambda *_, **__: type(status)(True, True, 1, 1, None))
        with pytest.raises(UserError, match="sbd is of no use without voc12") as caught:
            resolve(["sbd", "sod"], library)
        assert caught.value.fix == "seedbed data use voc12 sbd sod"
        assert [name for name, _ in resolve(["sbd", "voc12"], library)] == ["sbd", "voc12"]
        assert len(resolve(["sbd", str(tmp_path)], library)) == 2  # the folder may hold VOC


class TestCommand:
    def test_from_archives_to_a_list_of_what_is_here(self, tmp_path):
        write_archives(tmp_path / "served", tmp_path / "scratch")
        environ = {"SEEDBED_CATALOGUE": str(write_additions(tmp_path / "mine.yaml")), "COLUMNS": "200"}
        with served(tmp_path / "served") as (url, asked):
            environ |= {"SEEDBED_MIRROR": url, "SEEDBED_DATASETS": str(tmp_path / "library")}
            fetched = _seedbed(tmp_path, environ, "fetch", "voc12", "hku-is", "--discard")
        assert fetched.returncode == 0, fetched.stderr
        assert "next: seedbed data use voc12 hku-is" in fetched.stderr
        assert "no published checksum for hku-is/HKU-IS.zip: recorded sha256" in fetched.stderr
        assert set(asked.values()) == {1}
        assert not list((tmp_path / "library" / "downloads").glob("*.[tz]*"))
        listed = _seedbed(tmp_path, environ, "list", "--verify")
        assert listed.returncode == 0, listed.stderr
        assert listed.stdout.count("verified") == 2
        unknown = _seedbed(tmp_path, environ, "fetch", "hku")
        assert unknown.returncode == 2
        assert "did you mean 'hku-is'" in unknown.stderr


def _seedbed(folder: Path, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "seedbed.cli", "data", *words],
        cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
