"""Files of arrays: what other programs read, mapped where they are large, refused where they are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save

from engine.data import array_files
from engine.data.array_files import DamagedFileError, digest, forget_pages, read_arrays, write_arrays

ARRAYS: dict[str, npt.NDArray[Any]] = {
    "small": np.arange(5, dtype=np.int8),
    "offsets": np.arange(300_000, dtype=np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "square": np.arange(6, dtype=np.float32).reshape(2, 3),
}


def test_safetensors_reads_what_was_written_and_the_other_way_round(tmp_path: Path) -> None:
    file = tmp_path / "file.safetensors"
    write_arrays(file, ARRAYS, {"note": "é"}, root=tmp_path)
    for found in (load_file(file), read_arrays(file)[0]):
        assert found.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)
    assert read_arrays(file)[1] == {"note": "é"}
    file.write_bytes(save(dict(ARRAYS), {"note": "é"}))
    assert np.array_equal(read_arrays(file)[0]["offsets"], ARRAYS["offsets"])


def test_pages_that_were_let_go_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "file.safetensors"
    write_arrays(file, ARRAYS, {}, root=tmp_path)
    arrays, _ = read_arrays(file)
    before = digest("x", arrays)
    forget_pages(arrays)
    assert digest("x", arrays) == before != digest("y", arrays)


def test_what_is_mapped_outlives_its_file(tmp_path: Path) -> None:
    file = tmp_path / "file.safetensors"
    write_arrays(file, ARRAYS, {}, root=tmp_path)
    arrays, _ = read_arrays(file)
    write_arrays(file, {"offsets": np.zeros(9, np.int64)}, {}, root=tmp_path)
    assert np.array_equal(arrays["offsets"], ARRAYS["offsets"])
    file.unlink()
    assert np.array_equal(arrays["offsets"], ARRAYS["offsets"])


def test_changes_of_writable_arrays_stay_in_the_process(tmp_path: Path) -> None:
    file = tmp_path / "file.safetensors"
    write_arrays(file, ARRAYS, {}, root=tmp_path)
    content = file.read_bytes()
    arrays, _ = read_arrays(file, writable=True)
    arrays["offsets"][:] = 0
    assert file.read_bytes() == content


def test_every_cut_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_files, "SMALL", 10)
    file = tmp_path / "file.safetensors"
    write_arrays(file, {name: ARRAYS[name] for name in ("small", "square")}, {}, root=tmp_path)
    good = file.read_bytes()
    for length in range(len(good)):
        file.write_bytes(good[:length])
        with pytest.raises(DamagedFileError):
            read_arrays(file)
