from __future__ import annotations

import json

import pytest
from acquire.made_files import CONTENT, MD5, OTHER, SHA256

from seedbed.acquire.checksums import Checksums, verify_file
from seedbed.errors import UserError


@pytest.mark.parametrize("known", [None, MD5, SHA256])
def test_a_file_given_by_hand(tmp_path, checksums, known) -> None:
    path = tmp_path / "renamed.tar"
    path.write_bytes(CONTENT)
    verified = verify_file(path, known, checksums, "file.tar")
    assert (verified.digest, verified.recorded) == (SHA256[7:], known is None)
    assert json.loads(checksums.path.read_text())["file.tar"]["source"] == "given by hand"
    path.write_bytes(OTHER)
    with pytest.raises(UserError, match=f"(?s)file.tar that is expected.*{(known or SHA256)[:9]}.*but it has.*"):
        verify_file(path, known, checksums, "file.tar")


def test_a_file_given_by_hand_that_is_missing(tmp_path, checksums) -> None:
    with pytest.raises(UserError, match="is not a file"):
        verify_file(tmp_path / "file.tar", None, checksums)


@pytest.mark.parametrize("text", ["{", "[]", '{"file.tar": 1}', '{"file.tar": {"sha256": ""}}'])
def test_a_record_that_is_none(checksums, text) -> None:
    checksums.path.parent.mkdir(parents=True)
    checksums.path.write_text(text)
    with pytest.raises(UserError, match=r"checksums\.json is n") as raised:
        checksums.expected("file.tar")
    assert "recorded anew" in raised.value.fix


def test_two_sets_with_an_archive_of_one_name_do_not_share_its_checksum(tmp_path, checksums) -> None:
    path = tmp_path / "images.zip"
    for name, content in (("ecssd", CONTENT), ("mine", OTHER)):
        path.write_bytes(content)
        assert verify_file(path, None, Checksums(checksums.path, f"{name}/")).recorded
    assert set(json.loads(checksums.path.read_text())) == {"ecssd/images.zip", "mine/images.zip"}
    with pytest.raises(UserError, match=r"not the images\.zip that is expected.*from given by hand") as raised:
        verify_file(path, None, Checksums(checksums.path, "ecssd/"))
    assert "ecssd/images.zip" in (raised.value.fix or "")
