import socket
import subprocess
import sys

import psutil
import pytest

from seedbed.tracking.process import has_died, host_of, this_host, this_process


def test_a_process_lives_until_it_ends():
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from seedbed.tracking.process import this_process as p; print(p(), flush=True); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    name = child.stdout.readline().strip()
    assert int(name.split(":")[-2]) == child.pid
    assert not has_died(name)
    child.kill()
    psutil.wait_procs([psutil.Process(child.pid)], timeout=0.01)
    child.communicate()
    assert has_died(name)


def test_this_process_is_alive_also_when_the_clock_was_set_by_a_second():
    host, pid, start = this_process().rsplit(":", 2)
    assert host == host_of(this_process()) == this_host()
    assert host.startswith(socket.gethostname())
    assert not has_died(this_process())
    assert not has_died(f"{host}:{pid}:{float(start) + 1:.2f}")


def test_a_later_process_of_the_same_number_is_another_one():
    host, pid, start = this_process().rsplit(":", 2)
    assert has_died(f"{host}:{pid}:{float(start) - 1000:.2f}")


def test_of_other_machines_nothing_is_known():
    assert not has_died("elsewhere:1:0.00")


def test_what_is_no_process():
    with pytest.raises(ValueError, match="not enough values"):
        has_died("nobody")
