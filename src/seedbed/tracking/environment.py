"""What a run ran on and ran from: machine, packages, git commit, data hash, DVC stage."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pynvml
import torch
import yaml

_NOT_DIRT = ("dvc.lock", "reports")
"""What the pipeline itself rewrites while it runs, so that it says nothing about the code."""


def environment() -> dict[str, Any]:
    """Return Python, versions of the direct dependencies, CPU, threads, memory (GiB), GPUs with driver, CUDA build."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(logical=True),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
        "cuda": torch.version.cuda,
        "packages": _packages(),
    }


def git_state(root: Path) -> tuple[str | None, bool | None]:
    """Return the commit at `root` and whether the working tree differs from it; (None, None) outside a git repository.

    `dvc.lock` and `reports/` do not count as a difference: the pipeline rewrites them while it runs.
    """
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    excluded = [f":(exclude,top){name}" for name in _NOT_DIRT]
    status = _git(root, "status", "--porcelain", "--", ":(top)", *excluded)
    if commit is None or status is None:
        return None, None
    return commit, bool(status)


def data_hash(root: Path) -> str | None:
    """Return the hash of `data/` that `data.dvc` holds; None where the data set is not tracked."""
    try:
        content = yaml.safe_load((root / "data.dvc").read_text())
        return str(content["outs"][0]["md5"])
    except (FileNotFoundError, yaml.YAMLError, KeyError, IndexError, TypeError):
        return None


def dvc_state() -> dict[str, str | None]:
    """Return the DVC stage and experiment that this process runs for, as DVC tells its commands."""
    return {"stage": os.environ.get("DVC_STAGE"), "experiment": os.environ.get("DVC_EXP_NAME")}


def _git(root: Path, *arguments: str) -> str | None:
    """Return what a git command prints, None when it fails. Takes no lock: DVC may be at work in the repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpu_name() -> str:
    """Return the model name of the CPU, else the architecture."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()


def _gpus() -> list[dict[str, Any]]:
    """Return name, memory (GiB) and driver of every NVIDIA GPU of the machine; [] where there is none."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver = pynvml.nvmlSystemGetDriverVersion()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [
            {
                "name": pynvml.nvmlDeviceGetName(handle),
                "memory_gib": round(pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30, 1),
                "driver": driver,
            }
            for handle in handles
        ]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _packages() -> dict[str, str]:
    """Return the installed version of seedbed and of each of its direct dependencies."""
    versions = {}
    for requirement in ["seedbed", *(importlib.metadata.requires("seedbed") or [])]:
        if "extra ==" not in requirement:
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            versions[name] = importlib.metadata.version(name)
    return versions
