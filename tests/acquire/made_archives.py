"""Archives of given members."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from pathlib import Path

from seedbed.acquire.archive import Rule
from seedbed.acquire.streams import CHUNK

EVERYTHING = [Rule(r"(.*)", r"\1")]
FILES = {"set/a.jpg": b"one", "set/sub/b.png": random.Random(0).randbytes(2 * CHUNK + 77), "set/empty": b""}
FORMS = ["tar", "tgz", "zip"]
TARS = ["tar", "tgz"]


def tarred(members, mode="w") -> bytes:
    """A tar of (name or TarInfo, content) pairs."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = info.size or len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zipped(members, method=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of (name or ZipInfo, content) pairs."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as opened:
        for member, content in members:
            if not isinstance(member, str):
                member.compress_type = method
            opened.writestr(member, content)
    return stream.getvalue()


def packed(form: str, members) -> bytes:
    members = list(members.items()) if isinstance(members, dict) else list(members)
    if form == "zip":
        return zipped(members)
    return tarred(members, {"tar": "w", "tgz": "w:gz"}[form])


def placed(target: Path) -> dict[str, bytes]:
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
