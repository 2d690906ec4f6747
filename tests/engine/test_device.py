from __future__ import annotations

import pytest
import torch

from seedbed.engine.device import is_main_process, resolve_device
from seedbed.errors import UserError


@pytest.mark.parametrize(
    ("name", "present", "device"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_device_by_name(monkeypatch, name, present, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present)
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize(("built", "why"), [(True, "finds no GPU"), (False, "was built without CUDA")])
def test_cuda_asked_for_but_absent(monkeypatch, built, why):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
    with pytest.raises(UserError, match=why) as caught:
        resolve_device("cuda")
    assert caught.value.fix == "set device: auto in params.yaml"


def test_unknown_device():
    with pytest.raises(UserError, match="unknown device 'gpu'"):
        resolve_device("gpu")


@pytest.mark.parametrize(("rank", "main"), [(None, True), ("0", True), ("1", False)])
def test_rank_zero_is_the_main_process(monkeypatch, rank, main):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_main_process() == main
