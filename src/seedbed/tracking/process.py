"""Telling processes apart, also after they died: what they leave open, others may close."""

from __future__ import annotations

import functools
import socket
from pathlib import Path

import psutil

_SAME_START = 5.0  # seconds: start times count from the boot time, which moves a little when the clock is set


def this_process() -> str:
    """Return `host:pid:start`, which tells this process from every other one, also from a later one of its number."""
    process = psutil.Process()
    return f"{this_host()}:{process.pid}:{process.create_time():.2f}"


@functools.cache
def this_host() -> str:
    """Return the name of this host and, on Linux, of the space of its process numbers: each container has its own."""
    name, space = socket.gethostname(), Path("/proc/self/ns/pid")
    return f"{name}/{space.readlink().name.strip('pid:[]')}" if space.is_symlink() else name


def host_of(process: str) -> str:
    """Return the host in what `this_process` returned somewhere."""
    return process.rsplit(":", 2)[0]


def has_died(process: str) -> bool:
    """Tell whether a process of this host is gone (or a zombie). Of processes of other hosts nothing is known: False.

    Raises ValueError when `process` is not what `this_process` returns.
    """
    host, pid, start = process.rsplit(":", 2)
    if host != this_host():
        return False
    try:
        found = psutil.Process(int(pid))
        return abs(found.create_time() - float(start)) > _SAME_START or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
