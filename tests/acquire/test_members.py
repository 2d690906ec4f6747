from __future__ import annotations

import contextlib
import gzip
import io
import random
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from acquire.made_archives import EVERYTHING, FILES, FORMS, TARS, packed, placed, tarred, zipped
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.acquire.archive import ExtractLimits, extract
from seedbed.errors import UserError


@pytest.mark.parametrize("form", FORMS)
def test_plain_forms_of_names(unpack, tmp_path, form) -> None:
    unpack(packed(form, {"./a": b"1", "b//c": b"2", "d/./e": b"3"}))
    assert placed(tmp_path / "target") == {"a": b"1", "b/c": b"2", "d/e": b"3"}


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tars_of_every_format_with_folders_and_long_names(unpack, tmp_path, tar_format, mode) -> None:
    source = tmp_path / "source"
    long = Path("x" * 60, "y" * 60, "z" * 40)
    (source / long).parent.mkdir(parents=True)
    (source / long).write_bytes(b"long")
    (source / "Übung.txt").write_bytes(b"name")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=tar_format) as tar:
        tar.add(source, ".")
    unpack(stream.getvalue())
    assert placed(tmp_path / "target") == {str(long): b"long", "Übung.txt": b"name"}


HOSTILE = [
    "/etc/passwd",
    "//etc/passwd",
    "../up",
    "a/../../up",
    "a/..",
    "..",
    "C:/windows",
    "c:up",
    "a\\b",
    "..\\up",
    "\\\\host\\share",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layout", [EVERYTHING, []])
def test_paths_that_lead_elsewhere_refuse_the_archive(unpack, tmp_path, form, name, layout) -> None:
    with pytest.raises(UserError, match=r"is refused: .*its path leads out") as raised:
        unpack(packed(form, [("good", b"1"), (name, b"2")]), layout)
    assert repr(name) in raised.value.message
    assert set(placed(tmp_path)) <= {"archive", "target/good"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("form", TARS)
def test_tars_with_links_or_devices_are_refused(unpack, form, kind) -> None:
    info = tarfile.TarInfo("member")
    info.type, info.linkname = kind, "good"
    with pytest.raises(UserError, match="'member': it is a link, a device or has holes"):
        unpack(packed(form, [("good", b"1"), (info, b"")]))


def test_sparse_members_are_refused(unpack) -> None:
    info = tarfile.TarInfo("holes")
    info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 50), "GNU.sparse.name": "holes"}
    with pytest.raises(UserError, match="'holes': it is a link, a device or has holes"):
        unpack(tarred([(info, b"1")]))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_zips_with_links_or_devices_are_refused_before_a_byte_is_written(unpack, tmp_path, kind) -> None:
    info = zipfile.ZipInfo("member")
    info.external_attr = (kind | 0o777) << 16
    with pytest.raises(UserError, match="'member': it is a link or a device"):
        unpack(zipped([("good", b"1"), (info, b"/etc")]))
    assert not (tmp_path / "target").exists()


def test_encrypted_members_are_refused(unpack) -> None:
    content = bytearray(zipped([("a", b"1")]))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UserError, match="'a': it is encrypted"):
        unpack(bytes(content))


@pytest.mark.parametrize("form", FORMS)
def test_too_many_members(unpack, form) -> None:
    content = packed(form, {str(i): b"" for i in range(5)})
    assert unpack(content, limits=ExtractLimits(members=5)).files == 5
    with pytest.raises(UserError, match="'4': there are more than 4 members"):
        unpack(content, limits=ExtractLimits(members=4))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layout", [EVERYTHING, []])
def test_too_many_bytes(unpack, form, layout) -> None:
    with pytest.raises(UserError, match="more than 300,000 bytes come out"):
        unpack(packed(form, FILES), layout, ExtractLimits(bytes=300_000))


@pytest.mark.parametrize("form", ["tgz", "zip"])
@pytest.mark.parametrize("layout", [EVERYTHING, []])
def test_bombs(unpack, tmp_path, monkeypatch, form, layout) -> None:
    monkeypatch.setattr("seedbed.acquire.members._SMALL", 1 << 20)
    with pytest.raises(UserError, match=r"'zeros': more than .* bytes come out of an archive of"):
        unpack(packed(form, {"zeros": bytes(8 << 20)}), layout)
    assert sum(map(len, placed(tmp_path).values())) < 2 << 20


def test_a_bomb_in_a_header_of_a_tar(unpack, monkeypatch) -> None:
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    with pytest.raises(UserError, match="a header claims 1,099,511,627,776 bytes"):
        unpack(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))


@pytest.mark.parametrize("type_", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.DIRTYPE])
def test_a_negative_size(unpack, type_) -> None:
    header = tarfile.TarInfo("a")
    header.type, header.size = type_, -(1 << 40)
    with pytest.raises(UserError, match="is damaged"):
        unpack(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 12))


def test_headers_upon_headers(unpack) -> None:
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    with pytest.raises(UserError, match="is damaged"):
        unpack((header.tobuf(tarfile.GNU_FORMAT) + b"x" + bytes(511)) * 2000)


def test_a_zip_that_understates_its_members(unpack, tmp_path) -> None:
    content = bytearray(zipped([("a", bytes(5000))]))
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = struct.pack("<I", 10)
    with pytest.raises(UserError, match="is damaged"):
        unpack(bytes(content))
    assert placed(tmp_path / "target") == {}


@pytest.mark.parametrize("form", FORMS)
def test_truncation_is_noticed_wherever_it_is(unpack, form) -> None:
    content = packed(form, {"a": b"1" * 700, "b": b"2" * 512})
    end = len(content) if form != "tar" else 4 * 512 + 2 * 512  # two zero blocks end a tar; the rest is padding
    for size in range(0, end - (511 if form == "tar" else 0), 7):
        with pytest.raises(UserError, match="is damaged, or no archive"):
            unpack(content[:size])


@pytest.mark.parametrize("form", ["tgz", "zip"])
def test_damage_in_a_member_is_noticed(unpack, tmp_path, form) -> None:
    content = bytearray(packed(form, {"a": random.Random(0).randbytes(5000)}))
    content[2500] ^= 1
    with pytest.raises(UserError, match="is damaged"):
        unpack(bytes(content))


def test_damage_in_a_header_is_not_the_end_of_a_tar(unpack) -> None:
    content = bytearray(tarred([("a", b"1"), ("b", b"2")]))
    content[1024 + 5] ^= 1
    with pytest.raises(UserError, match="is damaged"):
        unpack(bytes(content))


def test_gzip_in_several_members_and_with_bytes_behind_it(unpack, tmp_path) -> None:
    content = tarred(list(FILES.items()))
    unpack(b"".join(gzip.compress(content[i : i + 100_000]) for i in range(0, len(content), 100_000)) + b"\x1f junk")
    assert placed(tmp_path / "target") == FILES


@pytest.mark.parametrize("head", [b"Rar!\x1a\x07\x01\x00", b"7z\xbc\xaf\x27\x1c\x00\x04"])
def test_archives_to_unpack_by_hand(unpack, head) -> None:
    with pytest.raises(UserError, match="RAR or 7-Zip") as raised:
        unpack(head + bytes(1000))
    assert "--from FOLDER" in raised.value.fix


def test_what_is_no_archive(unpack, tmp_path) -> None:
    with pytest.raises(UserError, match="is a web page"):
        unpack(b"\n<html>")
    with pytest.raises(UserError, match="is damaged, or no archive"):
        unpack(b"")
    with pytest.raises(UserError, match="is not a file"):
        extract(tmp_path / "missing", tmp_path / "target", EVERYTHING)


NAMES = st.lists(
    st.one_of(
        st.sampled_from(HOSTILE),
        st.lists(st.sampled_from(["a", "b", ".", "..", "", "C:", "\\", "a b", "é", "\r"]), min_size=1, max_size=4).map(
            "/".join
        ),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20),
    ),
    min_size=1,
    max_size=4,
    unique=True,
).filter(all)  # zipfile writes no member without a name


@settings(max_examples=150)
@given(names=NAMES, form=st.sampled_from(FORMS))
def test_whatever_the_names_nothing_is_written_outside(tmp_path_factory, names, form) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "archive").write_bytes(packed(form, [(name, b"1") for name in names]))
    try:
        done = extract(folder / "archive", folder / "inner" / "target", EVERYTHING)
    except UserError:
        pass
    else:
        assert len(placed(folder / "inner" / "target")) == done.files
    outside = {path for path in placed(folder) if not path.startswith("inner/target/")}
    assert outside == {"archive"}


@settings(max_examples=300)
@given(data=st.data(), form=st.sampled_from(FORMS))
def test_whatever_the_bytes_the_error_is_one_for_users(tmp_path_factory, data, form) -> None:
    content = bytearray(packed(form, {"a/b.txt": b"some text " * 30, "c": bytes(range(256)), "é" * 60: b"1"}))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + 1] = data.draw(st.binary(max_size=3))
    folder = tmp_path_factory.mktemp("any")
    (folder / "archive").write_bytes(content)
    with contextlib.suppress(UserError):
        extract(folder / "archive", folder / "inner" / "target", EVERYTHING)
    assert {path for path in placed(folder) if not path.startswith("inner/target/")} == {"archive"}
