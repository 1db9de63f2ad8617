"""What a safetensors file raises when the system refuses it: the system's own error, not a missing file."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from engine.errors import RunError
from engine.models.tensor_files import load_tensors, tensor_names
from engine.record.checkpoints import Checkpoint
from engine.train import checkpoint
from tests.refused_files import refuse

both = pytest.mark.parametrize("read", [load_tensors, tensor_names])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file({"weight": torch.ones(3)}, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@contextmanager
def no_more_files() -> Iterator[None]:
    """Inside the block, this process cannot open another file."""
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_a_file_holds(file: Path) -> None:
    assert load_tensors(file)["weight"].tolist() == [1, 1, 1]
    assert tensor_names(file) == ["weight"]


@both
def test_too_many_open_files(file: Path, read: Callable[[Path], object]) -> None:
    with no_more_files(), pytest.raises(FileNotFoundError):
        load_file(file)  # why this module exists
    with no_more_files(), pytest.raises(OSError, match=str(file)) as caught:
        read(file)
    assert caught.value.errno == errno.EMFILE


@both
def test_a_file_that_is_missing_or_damaged(file: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(FileNotFoundError):
        read(file.with_name("gone"))
    file.write_bytes(b"short")
    with pytest.raises(SafetensorError):
        read(file)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_checkpoint_that_cannot_be_read_now_ends_the_attempt_with_its_cause(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse(monkeypatch, file, number)
    with pytest.raises(RunError) as caught:
        checkpoint.tensors(Checkpoint(file.parent, 0, "kd", 1), "model")
    assert (caught.value.kind, caught.value.file) == ("cannot-read-checkpoint", str(file))
