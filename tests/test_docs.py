"""What README and docs say is what the commands do."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from seedbed.cli import app
from seedbed.stages.reference import parameters_page

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
COMMANDS = typer.main.get_command(app)


def shell_lines() -> list[str]:
    """Return every command line in the fenced bash blocks of the pages, and in the cards at the top of profiles."""
    lines = [line for profile in PROFILES for line in re.findall(r"^#   \$ (.*)$", profile.read_text(), re.MULTILINE)]
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            lines += [
                part.strip() for line in block.splitlines() for part in line.split("#")[0].split("&&") if part.strip()
            ]
    return lines


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("line", shell_lines())
def test_commands_of_the_documentation_exist(line: str) -> None:
    program, *words = shlex.split(line)
    if program == "seedbed":
        command = COMMANDS
        while words and hasattr(command, "commands") and not (command.invoke_without_command and words[0][0] == "-"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, line
    elif program == "make":
        assert set(words) <= makefile_targets(), line
    elif program == "cp" and words[0].startswith("profiles/"):
        assert (ROOT / words[0]).is_file(), line
    else:
        assert program in {"git", "cd", "cp", "source", "dvc", "torchrun", "docker", "optuna-dashboard"}, line


def test_every_command_has_help_and_an_example() -> None:
    pending = dict(COMMANDS.commands)
    while pending:
        name, command = pending.popitem()
        if hasattr(command, "commands"):
            pending |= {f"{name} {inner}": entry for inner, entry in command.commands.items()}
            if not command.invoke_without_command:
                continue
        assert f"`seedbed {name}" in command.help, name
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or parameter.help, f"{name} {parameter.name}"


def test_parameter_reference_is_current() -> None:
    assert (ROOT / "docs" / "parameters.md").read_text() == parameters_page(), "seedbed params > docs/parameters.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_stages_call_existing_commands() -> None:
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        words = shlex.split(stage["cmd"])
        assert words[0] == "seedbed", name
        assert words[1] in COMMANDS.commands, name


def test_no_page_or_file_names_a_machine() -> None:
    for path in [
        *PAGES,
        ROOT / "Makefile",
        ROOT / "dvc.yaml",
        ROOT / "Dockerfile",
        *PROFILES,
    ]:
        assert not re.search(r"(?<![\w.])/(work|home|root)/\w", path.read_text()), path


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_profiles_hold_every_parameter_that_a_stage_depends_on(profile: Path) -> None:
    """DVC knows no defaults: a parameter that is missing from params.yaml stops the pipeline."""
    params = yaml.safe_load(profile.read_text())
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values():
        for name in stage["params"]:
            for method in params["methods"]:
                block = params
                for part in name.replace("${item.method}", method).split("."):
                    assert part in block, f"{name} is missing"
                    block = block[part]
