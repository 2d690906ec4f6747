from __future__ import annotations

import pynvml
import pytest

from seedbed.params import Params
from seedbed.stages.doctor import machine
from seedbed.stages.doctor.machine import (
    Driver,
    Gpu,
    TorchBuild,
    gpu_lines,
    probe_gpu,
    probe_machine,
    python_line,
    shared_line,
)

H200 = Gpu("NVIDIA H200", 139.8, (9, 0))
DRIVER = Driver("580.65", (13, 0), (H200,))
BUILD = TorchBuild("2.14.1", "13.0", ("sm_80", "sm_90", "compute_120"), True)


def params(**more: object) -> Params:
    return Params.model_validate({"methods": ["cam"], "localiser": {"cam": {}}, "fusion": {"cam": {}}, **more})


def states(lines) -> list[str]:
    return [line.state for line in lines]


def test_this_machine_is_described() -> None:
    first, second = probe_machine(None)
    assert first.state == "ok"
    assert "cores" in second.what
    assert "memory" in second.what


def test_another_python_is_a_problem() -> None:
    line = python_line((3, 13))
    assert line.state == "problem"
    assert "Python 3.13" in line.what
    assert "python3.11" in line.fix


@pytest.mark.parametrize(("gib", "state"), [(0.0625, "note"), (8.0, "ok")])
def test_shared_memory_matters_to_loader_workers(gib: float, state: str, monkeypatch, tmp_path) -> None:
    assert shared_line(4, gib).state == state
    monkeypatch.setattr(machine, "_SHARED", tmp_path)
    assert len(probe_machine(params(workers=4))) == len(probe_machine(params(workers=0))) + 1


def test_a_gpu_with_a_fitting_torch_is_fine() -> None:
    lines = gpu_lines(DRIVER, BUILD, wanted=True)
    assert states(lines) == ["ok"] * 3
    assert [line.what for line in lines] == [
        "NVIDIA H200, 140 GiB",
        "driver 580.65, for CUDA up to 13.0",
        "torch 2.14.1, built for CUDA 13.0",
    ]


def test_a_newer_minor_version_of_cuda_runs_on_an_older_driver() -> None:
    build = TorchBuild("2.14.1", "13.2", ("sm_90",), True)
    assert gpu_lines(DRIVER, build, wanted=False)[-1].state == "ok"


@pytest.mark.parametrize(
    ("driver", "build", "words"),
    [
        (DRIVER, TorchBuild("2.14.1", None, (), False), "without CUDA: the GPU idles"),
        (Driver("550.1", (12, 4), (H200,)), BUILD, "built for CUDA 13.0, the driver runs up to 12.4"),
        (DRIVER, TorchBuild("2.14.1", "13.0", ("sm_100",), True), "no code for NVIDIA H200 (sm_90)"),
        (DRIVER, TorchBuild("2.14.1", "13.0", (), False), "finds no GPU"),
    ],
)
def test_what_does_not_go_together_is_a_problem(driver, build, words, monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    last = gpu_lines(driver, build, wanted=False)[-1]
    assert last.state == "problem"
    assert last.fix
    assert words in last.what


@pytest.mark.parametrize(
    ("architectures", "runs"),
    [
        (("sm_80", "sm_86"), True),
        (("sm_89",), False),
        (("sm_75",), False),
        (("compute_75",), True),
        (("sm_90a",), False),
    ],
)
def test_code_runs_on_its_major_version_from_its_minor_one_on(architectures, runs) -> None:
    ampere = Driver("580.65", (13, 0), (Gpu("A40", 45, (8, 6)),))
    build = TorchBuild("2.14.1", "13.0", architectures, True)
    assert (gpu_lines(ampere, build, wanted=True)[-1].state == "ok") == runs


def test_a_hidden_gpu_is_a_note(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    last = gpu_lines(DRIVER, TorchBuild("2.14.1", "13.0", (), False), wanted=False)[-1]
    assert last.state == "note"
    assert last.fix == "unset CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize("driver", [None, Driver("580.65", (13, 0), ())])
def test_no_gpu_is_a_problem_only_where_one_is_asked_for(driver) -> None:
    assert states(gpu_lines(driver, BUILD, wanted=False)) == ["note", "ok"]
    assert states(gpu_lines(driver, BUILD, wanted=True)) == ["problem"]


@pytest.mark.parametrize(
    ("error", "state"),
    [(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "note"), (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "problem")],
)
def test_a_driver_that_fails_is_told_from_none(error: int, state: str, monkeypatch) -> None:
    def fail() -> Driver:
        raise pynvml.NVMLError(error)

    monkeypatch.setattr(machine, "read_driver", fail)
    assert probe_gpu(None)[0].state == state


def test_a_torch_that_cannot_be_imported_is_a_problem(monkeypatch) -> None:
    def fail() -> TorchBuild:
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(machine, "read_driver", lambda: DRIVER)
    monkeypatch.setattr(machine, "read_torch", fail)
    (line,) = probe_gpu(params(device="cuda"))
    assert line.state == "problem"
    assert "libcudart" in line.what


class FakeDriver:
    """A pynvml with one GPU."""

    def __getattr__(self, name: str):
        values = {
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetName": "NVIDIA H200",
            "nvmlDeviceGetMemoryInfo": type("Memory", (), {"total": 140 * 2**30}),
            "nvmlDeviceGetCudaComputeCapability": (9, 0),
            "nvmlSystemGetCudaDriverVersion": 12040,
            "nvmlSystemGetDriverVersion": "550.1",
        }
        return lambda *_: values.get(name)


def test_the_driver_is_asked(monkeypatch) -> None:
    monkeypatch.setattr(machine, "pynvml", FakeDriver())
    assert machine.read_driver() == Driver("550.1", (12, 4), (Gpu("NVIDIA H200", 140.0, (9, 0)),))
