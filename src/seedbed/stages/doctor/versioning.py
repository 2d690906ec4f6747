"""git and DVC: whether they work here, what is not committed, whether cache and remote can be used."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.stages.doctor.line import Line, listed, note, ok, problem
from seedbed.stages.doctor.packages import INSTALL, installed_version
from seedbed.tracking.uri import public_uri

_TRACKED = ("data.dvc", "dvc.lock", "dvc.yaml", "params.yaml")
"""What ties artifacts to a commit."""


@dataclass(frozen=True)
class Dvc:
    """What DVC's configuration says: folder of the cache, default remote, URL of every remote without credentials."""

    cache: Path
    default: str | None
    remotes: Mapping[str, str]


def probe_git(root: Path) -> list[Line]:
    """Look for uncommitted versions of the files that say which data and artifacts belong to a commit."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--", *_TRACKED],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # DVC may be at work in the repository
        )
    except FileNotFoundError:
        return [problem("git is not installed", "apt-get install git")]
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        return [problem(f"no git repository: {why}", "git init && git add . && git commit -m 'Start'")]
    changed = [line[3:].split("/")[-1] for line in done.stdout.splitlines()]
    if not changed:
        return [ok(f"git: {', '.join(_TRACKED)} are committed")]
    named = " ".join(changed)
    return [note(f"git: not committed: {listed(changed)}", f"git add {named} && git commit -m 'Results'")]


def probe_dvc(root: Path) -> list[Line]:
    """Look at DVC's repository, its cache and its remotes."""
    version = installed_version("dvc")
    try:
        found = read_dvc(root)
    except ImportError as error:
        return [problem(f"DVC cannot be imported: {error}", INSTALL)]
    if isinstance(found, Line):
        return [found]
    return [ok(f"DVC {version}"), cache_line(found.cache), *remote_lines(found)]


def read_dvc(root: Path) -> Dvc | Line:
    """Return what DVC's configuration says, or a line about why DVC does not work in `root`."""
    from dvc.config import ConfigError
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        with Repo(str(root)) as repo:
            config: dict[str, Any] = repo.config
            remotes = {name: public_uri(str(remote.get("url", "")), root) for name, remote in config["remote"].items()}
            return Dvc(Path(repo.cache.local.path), config["core"].get("remote"), remotes)
    except NotDvcRepoError:
        return problem("no DVC repository: there is no .dvc/", "dvc init")
    except SCMError as error:
        return problem(f"DVC does not find git: {error}", "git init, or dvc config core.no_scm true")
    except ConfigError as error:
        return problem(f"DVC's configuration is not valid: {error}", "mend .dvc/config and .dvc/config.local")
    except DvcException as error:
        return problem(f"DVC does not work here: {error}", "dvc doctor")


def cache_line(cache: Path) -> Line:
    """Judge DVC's cache: whether files can be put into it."""
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        return problem(f"DVC's cache {cache} cannot be written", f"ls -ld {place}, or dvc cache dir OTHER")
    return ok(f"cache {cache}")


def remote_lines(found: Dvc) -> list[Line]:
    """Judge the remotes: local folders are looked at, others are named only, for asking them may take a while."""
    if not found.remotes:
        return [
            note("no DVC remote: nobody else can pull the data and artifacts", "dvc remote add -d store FOLDER_OR_URL")
        ]
    lines = []
    if found.default is None:
        lines.append(
            note(
                "no default DVC remote: dvc push does not know where to",
                f"dvc remote default {next(iter(found.remotes))}",
            )
        )
    for name, url in found.remotes.items():
        if "://" in url:
            lines.append(ok(f"remote {name}: {url}, not asked (`dvc status --cloud` does)"))
        elif not Path(url).is_dir():
            lines.append(problem(f"remote {name}: folder {url} does not exist", f"mkdir -p {url}, or mount its disk"))
        elif not os.access(url, os.R_OK | os.X_OK):
            lines.append(problem(f"remote {name}: folder {url} cannot be read", f"ls -ld {url}"))
        else:
            lines.append(ok(f"remote {name}: {url}"))
    return lines
