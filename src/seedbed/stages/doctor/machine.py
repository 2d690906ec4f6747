"""The machine: Python, cores, memory, GPUs with their driver, and whether torch was built for it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pynvml

from seedbed.params import Params
from seedbed.stages.doctor.line import Line, note, ok, problem
from seedbed.stages.doctor.packages import INSTALL

PYTHON = (3, 11)
"""The version that requirements.lock was made for."""
_SHARED = Path("/dev/shm")
_LEAST_SHARED = 1.0  # GiB
_DRIVER = "install or update the NVIDIA driver: nvidia-smi must answer"


def probe_machine(params: Params | None) -> list[Line]:
    """Look at Python, cores, memory and, where loader workers need it, shared memory."""
    cores, memory = len(os.sched_getaffinity(0)), psutil.virtual_memory()
    lines = [
        python_line(sys.version_info[:2]),
        ok(f"{platform.system()} {platform.machine()}, {cores} cores, {_gib(memory.total)} memory"),
    ]
    if params and params.workers and _SHARED.is_dir():
        lines.append(shared_line(params.workers, shutil.disk_usage(_SHARED).total / 2**30))
    return lines


def python_line(version: tuple[int, ...]) -> Line:
    """Judge the version of Python."""
    found, wanted = (".".join(map(str, numbers)) for numbers in (version, PYTHON))
    if version == PYTHON:
        return ok(f"Python {platform.python_version()}")
    return problem(
        f"Python {found}, but requirements.lock is for {wanted}", f"make PYTHON=/path/to/python{wanted} setup"
    )


def shared_line(workers: int, gib: float) -> Line:
    """Judge the shared memory that loader workers pass batches through; containers often have 64 MiB."""
    if gib >= _LEAST_SHARED:
        return ok(f"{gib:.1f} GiB of shared memory for {workers} loader workers")
    return note(
        f"{workers} loader workers pass batches through /dev/shm, which has {1024 * gib:.0f} MiB",
        "start the container with --shm-size=2g, or set workers: 0 in params.yaml",
    )


@dataclass(frozen=True)
class Gpu:
    """A GPU of the machine; `capability` is CUDA's compute capability."""

    name: str
    memory_gib: float
    capability: tuple[int, int]


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver: its version, the newest CUDA that it can run, and the GPUs that it sees."""

    version: str
    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True)
class TorchBuild:
    """The installed torch: the CUDA it was built with, the architectures it holds code for, whether it finds a GPU."""

    version: str
    cuda: str | None
    architectures: tuple[str, ...]
    finds_gpu: bool


def probe_gpu(params: Params | None) -> list[Line]:
    """Look at GPUs, the driver and the CUDA build of torch, and whether they go together."""
    wanted = params is not None and params.device == "cuda"
    try:
        driver = read_driver()
    except pynvml.NVMLError as error:
        driver = None
        if not isinstance(error, pynvml.NVMLError_LibraryNotFound | pynvml.NVMLError_DriverNotLoaded):
            return [problem(f"the NVIDIA driver does not work: {error}", _DRIVER)]
    try:
        build = read_torch()
    except (ImportError, OSError) as error:  # OSError: a shared library of it is missing or broken
        return [problem(f"torch cannot be imported: {error}", INSTALL)]
    return gpu_lines(driver, build, wanted)


def read_driver() -> Driver:
    """Ask the driver. Raises NVMLError where there is none, or where it fails."""
    pynvml.nvmlInit()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        gpus = tuple(
            Gpu(
                pynvml.nvmlDeviceGetName(handle),
                pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30,
                pynvml.nvmlDeviceGetCudaComputeCapability(handle),
            )
            for handle in handles
        )
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        return Driver(pynvml.nvmlSystemGetDriverVersion(), (cuda // 1000, cuda % 1000 // 10), gpus)
    finally:
        pynvml.nvmlShutdown()


def read_torch() -> TorchBuild:
    """Ask torch; imported here, so that a broken installation becomes a line like any other."""
    import torch

    found = torch.cuda.is_available()
    architectures = tuple(torch.cuda.get_arch_list()) if found else ()
    return TorchBuild(torch.__version__, torch.version.cuda, architectures, found)


def gpu_lines(driver: Driver | None, build: TorchBuild, wanted: bool) -> list[Line]:
    """Judge driver and build together. `wanted`: the parameters ask for a GPU, so that none is a problem."""
    if driver is None or not driver.gpus:
        if wanted:
            return [problem("device: cuda is asked for, but there is no NVIDIA GPU", f"set device: auto, or {_DRIVER}")]
        return [note("no NVIDIA GPU: everything runs on the CPU"), ok(_described(build))]
    shown = [ok(f"{gpu.name}, {gpu.memory_gib:.0f} GiB") for gpu in driver.gpus]
    newest = ".".join(map(str, driver.cuda))
    return [*shown, ok(f"driver {driver.version}, for CUDA up to {newest}"), _build_line(driver, build)]


def _build_line(driver: Driver, build: TorchBuild) -> Line:
    """Say whether this torch can compute on the GPUs of this driver."""
    newest = ".".join(map(str, driver.cuda))
    if build.cuda is None:
        return problem(f"torch {build.version} is built without CUDA: the GPU idles", INSTALL)
    if int(build.cuda.split(".")[0]) > driver.cuda[0]:  # within a major version, older drivers run newer builds
        return problem(
            f"torch {build.version} is built for CUDA {build.cuda}, the driver runs up to {newest}",
            f"update the NVIDIA driver, or install a torch that is built for CUDA {driver.cuda[0]}",
        )
    if not build.finds_gpu:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if hidden is not None:
            return note(f"CUDA_VISIBLE_DEVICES={hidden!r} hides the GPU from torch", "unset CUDA_VISIBLE_DEVICES")
        return problem(f"{_described(build)}, finds no GPU", 'python -c "import torch; torch.cuda.init()" says why')
    for gpu in driver.gpus:
        if not _runs_on(gpu.capability, build.architectures):
            return problem(
                f"torch {build.version} has no code for {gpu.name} (sm_{gpu.capability[0]}{gpu.capability[1]})",
                "install a torch that is built for this GPU",
            )
    return ok(_described(build))


def _runs_on(capability: tuple[int, int], architectures: tuple[str, ...]) -> bool:
    """Say whether code for one of `architectures` (sm_90, compute_90) runs on a GPU of `capability`.

    Machine code runs on the same major version from its minor one on; intermediate code on every later version.
    """
    for name in architectures:
        kind, _, digits = name.rstrip("af").partition("_")
        built = (int(digits[:-1]), int(digits[-1]))
        if built <= capability and (kind == "compute" or built[0] == capability[0]):
            return True
    return False


def _described(build: TorchBuild) -> str:
    return f"torch {build.version}, built for " + (f"CUDA {build.cuda}" if build.cuda else "the CPU")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
