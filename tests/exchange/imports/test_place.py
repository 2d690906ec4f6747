import pytest

from seedbed.errors import UserError
from seedbed.exchange.imports.place import Listed, Place, list_imports
from seedbed.paths import Paths
from seedbed.seeds.store import MapWriter


@pytest.fixture
def where(tmp_path):
    return Place.of(Paths(tmp_path), "pseudo", "oaa")


def fill(place: Place, text: str) -> None:
    with place.filled() as folder:
        (folder / "a.png").write_text(text)


def test_an_import_is_put_in_its_place_and_replaced_whole(where, tmp_path):
    fill(where, "first")
    (where.target / "old.png").write_text("")
    fill(where, "second")
    assert [(path.name, path.read_text()) for path in where.target.iterdir()] == [("a.png", "second")]
    assert where.target == tmp_path / "data" / "imported" / "pseudo" / "oaa"
    assert not where.scratch.exists()


def test_a_failure_leaves_the_former_import(where):
    fill(where, "first")
    with pytest.raises(UserError), where.filled() as folder:
        (folder / "a.png").write_text("half")
        raise UserError("no")
    assert (where.target / "a.png").read_text() == "first"
    assert not where.scratch.exists()


def test_a_kill_leaves_the_former_import_or_brings_it_back(where):
    fill(where, "first")
    (where.scratch / "fresh").mkdir(parents=True)
    where.target.rename(where.scratch / "old")  # killed between the two renames
    with pytest.raises(UserError), where.filled() as folder:
        assert list(folder.iterdir()) == []
        raise UserError("no")
    assert (where.target / "a.png").read_text() == "first"


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", ".hidden", "a b", "x" * 101])
def test_names_that_are_no_folders_are_refused(tmp_path, name):
    with pytest.raises(UserError, match="cannot name an import"):
        Place.of(Paths(tmp_path), "pseudo", name)


def test_imports_are_listed(where, tmp_path):
    assert list_imports(Paths(tmp_path)) == []
    fill(where, "first")
    with Place.of(Paths(tmp_path), "seeds", "irn").filled() as folder, MapWriter(folder, "x"):
        pass
    assert list_imports(Paths(tmp_path)) == [Listed("seeds", "irn", 0), Listed("pseudo", "oaa", 1)]
