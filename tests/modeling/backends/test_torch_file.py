"""Test the reader of torch files: what torch wrote before version 1.6, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from modeling.backends import torch_file
from modeling.backends.torch_file import read_tensors
from tests.modeling.backends.torch_files import State, save_as_torch_does


@pytest.fixture
def state() -> State:
    rng = np.random.default_rng(0)
    return {
        "conv.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "turned": np.asfortranarray(rng.normal(size=(5, 7)).astype(np.float32)).T,
        "number": np.array(7),
    }


@pytest.mark.parametrize("is_old", [False, True])
def test_tensors_are_read(is_old: bool, state: State, tmp_path: Path) -> None:
    save_as_torch_does(tmp_path / "a.pth", state, is_old=is_old)
    tensors = read_tensors(tmp_path / "a.pth")
    assert list(tensors) == list(state)
    for name, expected in state.items():
        assert tensors[name].dtype == expected.dtype
        np.testing.assert_array_equal(tensors[name], expected)


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("kind", ["empty", "cut", "code", "beyond", "no dictionary"])
def test_other_files_are_refused(kind: str, is_old: bool, state: State, tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    if kind == "code":
        save_as_torch_does(file, {"weight": os.system}, is_old=is_old)  # type: ignore[dict-item]
    elif kind == "no dictionary":
        save_as_torch_does(file, {"weight": "text"}, is_old=is_old)  # type: ignore[dict-item]
    else:
        save_as_torch_does(file, state, is_old=is_old, shorten="conv.weight" if kind == "beyond" else "")
        content = file.read_bytes()
        file.write_bytes({"empty": b"", "cut": content[:-200]}.get(kind, content))
    with pytest.raises(ValueError, match="tensors"):
        read_tensors(file)


@pytest.mark.parametrize(("before", "after"), [(b"\xe9\x03", b"\xe8\x03"), (b"\x88", b"\x89"), (b"Kl", b"Km")])
def test_old_files_of_other_versions_machines_or_sizes_are_refused(
    before: bytes, after: bytes, state: State, tmp_path: Path
) -> None:
    """The version 1001, little-endian, and the 108 values of a storage."""
    file = tmp_path / "a.pth"
    save_as_torch_does(file, state, is_old=True)
    content = file.read_bytes()
    assert before in content
    file.write_bytes(content.replace(before, after, 1))
    with pytest.raises(ValueError, match="no readable tensors"):
        read_tensors(file)


def test_storages_of_an_old_file_are_not_larger_than_the_file(state: State, tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    save_as_torch_does(file, state, is_old=True)
    content = file.read_bytes()
    file.write_bytes(content.replace(b"Kl", b"J\xff\xff\xff\x7f", 1))  # eight gigabytes
    with pytest.raises(ValueError, match="larger than the file"):
        read_tensors(file)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (11,), (1,)), (1, (10,), (1,)), (-1, (2,), (1,)), (0, (2, 6), (5, 1)), (0, (10**12,), (0,)), (9, (2,), (-1,))],
)
def test_tensors_stay_within_their_storage(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    with pytest.raises(torch_file.pickle.UnpicklingError, match="beyond its storage"):
        torch_file._tensor(np.zeros(10, np.float32), offset, shape, strides)


def test_views_of_a_storage() -> None:
    storage = np.arange(10, dtype=np.float32)
    np.testing.assert_array_equal(torch_file._tensor(storage, 1, (2, 3), (4, 1)), [[1, 2, 3], [5, 6, 7]])
    assert torch_file._tensor(storage, 3, (), ()) == 3
    assert torch_file._tensor(storage, 0, (0, 5), (5, 1)).shape == (0, 5)
