"""Files to fetch, and how patiently."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from seedbed.acquire.download import Limits

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
QUICK = Limits(attempts=3, backoff=0.01, connect=2.0, patience=10.0, rate=1.0)
HASTY = Limits(attempts=2, backoff=0.01, connect=2.0, patience=0.3, rate=1000.0)
FIX = "fetch it by hand, then --from FILE"
CUT = 100_000


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def left(folder: Path) -> set[str]:
    """Names of what lies in `folder`."""
    return {path.name for path in folder.iterdir()} - {".lock"}


MD5, SHA256 = md5(CONTENT), sha256(CONTENT)
