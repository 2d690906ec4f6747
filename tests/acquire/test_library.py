"""What the library says of its sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.acquire import manifest
from seedbed.acquire.library import Library, Status
from seedbed.errors import UserError


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def put(library: Library, name: str, **contents: bytes) -> None:
    """Put a set into the library as a fetch does."""
    tree = library.part(name) / "tree"
    for file, content in contents.items():
        path = tree / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    library.record(name, manifest.measure(tree, name), {}, {})
    tree.rename(library.folder(name))
    library.part(name).rmdir()


def test_nothing_is_here_at_first(library):
    assert all(library.status(name) == Status(False, False, 0, 0, None) for name in library.catalogue)
    assert not library.root.exists()  # looking writes nothing


def test_a_set_that_is_here_is_counted(library):
    put(library, "sod", a=b"one", b=b"four")
    assert library.status("sod") == library.status("sod", verify=True) == Status(True, True, 2, 7, None)


def test_what_is_damaged_is_named(library):
    put(library, "sod", a=b"one", b=b"four")
    (library.folder("sod") / "sod" / "a").write_bytes(b"ONE")
    assert library.status("sod").intact
    assert library.status("sod", verify=True).finding == "1 modified, as sod/a"


def test_what_is_under_way_is_said(library):
    library.part("sod").mkdir(parents=True)
    assert library.status("sod").finding == "begun"
    folder = library.downloads("ecssd")
    folder.mkdir(parents=True)
    (folder / "images.zip").write_bytes(bytes(1_500_000))
    (folder / "ground_truth_mask.zip.part").write_bytes(bytes(500_000))
    assert library.status("ecssd").finding == "1 of 2 archives downloaded, 2.0 MB"


def test_a_record_without_its_folder_is_a_set_not_here(library):
    # So it is when a fetch was killed just before its last step.
    put(library, "sod", a=b"one")
    library.folder("sod").rename(library.root / "elsewhere")
    assert library.status("sod") == Status(False, False, 0, 0, None)


@pytest.mark.parametrize("content", [None, "{", "{}", "[1]"])
def test_a_damaged_record_is_a_finding_of_its_set(library, content):
    put(library, "sod", a=b"one")
    record = library.root / "state" / "sod.json"
    record.write_text(content) if content else record.unlink()
    assert library.status("sod") == Status(True, False, 1, 3, "its record is missing or damaged")


@pytest.mark.parametrize("content", [None, "one line"])
def test_a_folder_without_the_list_of_its_files_was_not_fetched(library, content):
    put(library, "sod", a=b"one")
    files = library.root / "state" / "sod.files"
    files.write_text(content) if content else files.unlink()
    assert "not made by seedbed data fetch" in str(library.status("sod").finding)


def test_a_changed_entry_is_no_damage(library):
    put(library, "sod", a=b"one")
    entry = library.entry("sod").model_copy(update={"expected": {"SOD/Images": 299}})
    status = Library(library.root, {"sod": entry}).status("sod")
    assert status.outdated
    assert "catalogue" in str(status.finding)


def test_what_is_needed_comes_first_and_once(library):
    assert library.in_order(["sod", "sbd", "voc12", "sbd"]) == ["sod", "voc12", "sbd"]
    with pytest.raises(UserError, match="unknown data set 'sbdd'; did you mean 'sbd'"):
        library.in_order(["sbdd"])
