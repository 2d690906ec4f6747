"""Hypothesis for all tests, without a time limit, for a busy machine is not a defect; and a real PostgreSQL server."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("seedbed", deadline=None)
settings.load_profile("seedbed")

SERVER = Path(__file__).parents[1] / ".ci" / "postgres"


@pytest.fixture(scope="session")
def postgres():
    """Return the URL of a database of a throw-away PostgreSQL server: that of `.ci/run`, else one of our own."""
    if url := os.environ.get("SEEDBED_TEST_POSTGRES"):
        yield url
        return
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("no PostgreSQL on this machine (apt-get install postgresql): studies in a database were not tried")
    url = subprocess.run([SERVER, "start"], check=True, capture_output=True, text=True).stdout.strip()
    yield url
    subprocess.run([SERVER, "stop", url], check=True)
