import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from seedbed.errors import UserError
from seedbed.exchange import sources
from seedbed.exchange.sources import digest, match, members


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "maps"
    (place / "sub").mkdir(parents=True)
    for name in ("b.png", "sub/a.png", "c_sal.PNG", "notes.txt", ".hidden.png"):
        (place / name).write_bytes(name.encode())
    return place


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_folder_and_its_zip_hold_the_same_files(folder, tmp_path):
    files = {"b.png": b"b.png", "sub/a.png": b"sub/a.png", "c_sal.PNG": b"c_sal.PNG", "notes.txt": b"", "sub/": b""}
    archive = pack(tmp_path / "maps.zip", {**files, "__MACOSX/b.png": b"attributes", "sub/._a.png": b"attributes"})
    for source in (folder, archive):
        found = members(source, {".png"})
        assert [member.path for member in found] == ["b.png", "c_sal.PNG", "sub/a.png"]
        assert [member.read() for member in found] == [b"b.png", b"c_sal.PNG", b"sub/a.png"]
        assert str(found[2]) == f"{source.name}/sub/a.png"


def test_paths_of_a_zip_lead_nowhere(tmp_path):
    archive = pack(tmp_path / "maps.zip", {"../../a.png": b"1", "/etc/b.png": b"2", "C:\\x\\c.png": b"3"})
    found = match(members(archive, {".png"}), ["a", "b", "c"])
    assert {name: files[0].read() for name, files in found.of_image.items()} == {"a": b"1", "b": b"2", "c": b"3"}


def test_names_cannot_write_to_the_terminal(tmp_path):
    archive = pack(tmp_path / "maps.zip", {"\x1b[2Ja.png": b""})
    assert str(members(archive, {".png"})[0]) == "maps.zip/?[2Ja.png"


def test_files_are_matched_with_images_by_name(folder):
    found = match(members(folder, {".png"}), ["d", "c", "b"], ["_sal"])
    assert {name: [member.path for member in files] for name, files in found.of_image.items()} == {
        "c": ["c_sal.PNG"],
        "b": ["b.png"],
    }
    assert found.missed == ["d"]
    assert found.extra == 1


def test_an_id_that_ends_like_a_known_ending_is_itself(folder):
    assert list(match(members(folder, {".png"}), ["c_sal"], ["_sal"]).of_image) == ["c_sal"]


def test_all_files_of_an_image_are_told(folder, tmp_path):
    (folder / "sub" / "b_sal.png").write_bytes(b"")
    found = match(members(folder, {".png"}), ["b"], ["_sal"])
    assert [member.path for member in found.of_image["b"]] == ["b.png", "sub/b_sal.png"]
    archive = pack(tmp_path / "twice.zip", {"b.png": b"1", "B.png": b"2"})
    archive.write_bytes(archive.read_bytes().replace(b"B.png", b"b.png"))
    found = match(members(tmp_path / "twice.zip", {".png"}), ["b"])
    assert [member.read() for member in found.of_image["b"]] == [b"1", b"2"]


def test_links_and_devices_are_refused(folder, tmp_path):
    (folder / "link.png").symlink_to(folder / "b.png")
    os.mkfifo(folder / "pipe.png")
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "maps.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    odd = [member for source in (folder, tmp_path / "maps.zip") for member in members(source, {".png"})]
    odd = [member for member in odd if member.stem in {"link", "pipe"}]
    assert len(odd) == 3
    for member in odd:
        with pytest.raises(UserError, match="a link or a device"):
            member.read()


def test_a_link_to_a_folder_is_not_followed(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.png").write_bytes(b"")
    (folder / "elsewhere").symlink_to(tmp_path / "other")
    assert "elsewhere/x.png" not in [member.path for member in members(folder, {".png"})]


def test_a_bomb_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MOST_BYTES", 1000)
    archive = pack(tmp_path / "maps.zip", {"a.png": bytes(1001), "b.png": bytes(1000)})
    large, fitting = members(archive, {".png"})
    assert len(fitting.read()) == 1000
    with pytest.raises(UserError, match="unpacks to more than"):
        large.read()
    (folder / "b.png").write_bytes(bytes(1001))
    with pytest.raises(UserError, match="unpacks to more than"):
        members(folder, {".png"})[0].read()


def test_damaged_and_encrypted_members_are_refused(tmp_path):
    archive = pack(tmp_path / "maps.zip", {"a.png": b"some content that compresses: aaaaaaaaaaaaaaaaaaaaaa"})
    whole = archive.read_bytes()
    start = whole.index(b"a.png") + 5
    archive.write_bytes(whole[: start + 5] + b"\xff\xff" + whole[start + 7 :])
    with pytest.raises(UserError, match="cannot be read"):
        members(archive, {".png"})[0].read()
    flagged = bytearray(whole)
    flagged[whole.index(b"PK\x01\x02") + 8] |= 1
    archive = tmp_path / "encrypted.zip"
    archive.write_bytes(flagged)
    with pytest.raises(UserError, match="is encrypted"):
        members(archive, {".png"})[0].read()


def test_a_file_that_went_away_is_refused(folder):
    found = members(folder, {".png"})
    (folder / "b.png").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        found[0].read()


def test_a_zip_that_was_replaced_is_read_anew(tmp_path):
    archive = pack(tmp_path / "maps.zip", {"a.png": b"1"})
    assert members(archive, {".png"})[0].read() == b"1"
    pack(archive, {"a.png": b"2"})
    os.utime(archive, ns=(1, 1))
    assert members(archive, {".png"})[0].read() == b"2"


def test_sources_that_hold_nothing_are_refused(folder, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="does not exist"):
        members(tmp_path / "nowhere", {".png"})
    with pytest.raises(UserError, match=r"no files that end in \.npy"):
        members(folder, {".npy"})
    (tmp_path / "maps.zip").write_bytes(b"Rar!")
    with pytest.raises(UserError, match="no intact zip"):
        members(tmp_path / "maps.zip", {".png"})
    monkeypatch.setattr(sources, "MOST_MEMBERS", 2)
    with pytest.raises(UserError, match="more than 2 files"):
        members(folder, {".png"})


def test_the_digest_of_a_file_is_of_its_content(tmp_path):
    (tmp_path / "labels.npy").write_bytes(b"abc")
    assert digest(tmp_path / "labels.npy") == hashlib.sha256(b"abc").hexdigest()


def test_the_digest_of_a_folder_or_zip_is_of_names_and_sizes(tmp_path):
    folder, archive = tmp_path / "maps", tmp_path / "maps.zip"
    (folder / "sub").mkdir(parents=True)
    for name in ("b.png", "sub/a.png", ".hidden"):
        (folder / name).write_bytes(b"1234")
    with zipfile.ZipFile(archive, "w") as stream:
        for name in ("sub/a.png", "b.png"):
            stream.writestr(name, b"4321")
    first = digest(folder)
    assert first == hashlib.sha256(b"b.png\t4\nsub/a.png\t4\n").hexdigest() == digest(archive)
    (folder / "b.png").write_bytes(b"12345")
    assert digest(folder) != first
