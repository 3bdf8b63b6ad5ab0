"""Read arrays and the keys of their rows from .npy, .npz and Parquet files, without loading them whole."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoshina.core.errors import Refusal
from labeling.tables.item_column import ANY, key_of, key_rank
from labeling.tables.layout import layout_of, rows_of
from labeling.tables.row_finder import SHA256, kind_of

SUFFIXES = (".npy", ".npz", ".parquet")
# Rows whose keys are read at once.
BATCH = 10_000
# A longer vector does not describe an image any more; it is another image.
MAX_DIM = 65_536
_KEYS = {"item_id": "item_id", "item_ids": "item_id", "path": "path", "paths": "path", "sha256": SHA256,
         "name": "name", "names": "name", "file_name": ANY, "filename": ANY, "filenames": ANY, "file_names": ANY,
         "ids": "", "id": "", "keys": ""}  # fmt: skip
_KINDS = ("item_id", "path", "name", SHA256)
_HOW = "Name it item_id, path, sha256 or file_name, or give the ids in a file (--ids FILE)."

Batches = Iterator[list[str]]


@dataclass(frozen=True)
class Keys:
    """Hold the keys of the rows: their ``kind`` ("" if their content decides), name in the file, and batches."""

    kind: str
    name: str
    batches: Callable[[], Batches]

    def resolved(self) -> Keys:
        """Return the keys with a kind: that of the first batch if the name does not decide."""
        return self if self.kind else Keys(kind_of(next(self.batches(), [])), self.name, self.batches)


def open_npy(file: Path) -> NDArray[Any]:
    """Map an .npy file. Raises Refusal if it is none."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise Refusal(f"{file.name} is not a NumPy array, or it is cut short ({error}).", _save_again(file)) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise Refusal(f"{file.name} is an archive of arrays.", "Give its name the ending .npz.")
    return array


@contextmanager
def opened_archive(file: Path, folder: Path) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the arrays of an .npz file, mapped from copies in a temporary subfolder of ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as copies:
        try:
            with zipfile.ZipFile(file) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
                _require_space(file, archive, folder)
                for number, name in enumerate(names):
                    with archive.open(name) as source, (Path(copies) / f"{number}.npy").open("wb") as copy:
                        shutil.copyfileobj(source, copy, 2**20)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise Refusal(f"{file.name} cannot be read ({error}).", _save_again(file)) from error
        yield {name.removesuffix(".npy"): open_npy(Path(copies) / f"{n}.npy") for n, name in enumerate(names)}


def _require_space(file: Path, archive: zipfile.ZipFile, folder: Path) -> None:
    wanted = sum(member.file_size for member in archive.infolist())
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise Refusal(
            f"The arrays of {file.name} need {wanted / 1e9:.2f} GB; the disk of {folder} has {free / 1e9:.2f} GB left.",
            "Free some space, or set AL_STORE_DIR to a folder on a larger disk.",
        )


def _save_again(file: Path) -> str:
    call = "numpy.savez" if file.suffix.lower() == ".npz" else "numpy.save"
    return f"Write it with {call}; arrays of Python objects are refused."


# -- Keys ------------------------------------------------------------------------------------------
def keys_in_array(name: str, array: NDArray[Any]) -> Keys:
    """Return the keys in an array of text or whole numbers. Raises Refusal for other arrays."""
    if array.ndim != 1 or array.dtype.kind not in "iuUS":
        raise Refusal(
            f"The array {name} cannot name images: it is {array.dtype} {array.shape}.",
            "Expected one dimension of text or whole numbers.",
        )

    def batches() -> Batches:
        for start in range(0, len(array), BATCH):
            values = array[start : start + BATCH].tolist()
            yield [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]

    return Keys(_KEYS.get(name.lower(), ""), name, batches)


def pick_keys(arrays: dict[str, NDArray[Any]], n_rows: int) -> Keys:
    """Return the keys of an archive: the array with a usual name, or the only one that can be keys."""
    named = [name for name in arrays if name.lower() in _KEYS]
    others = [name for name, array in arrays.items() if array.shape == (n_rows,) and array.dtype.kind in "iuUS"]
    found = named or others
    if len(found) != 1:
        problem = f"{' and '.join(found[:3])} may all name the images" if found else "No array names the images"
        raise Refusal(f"{problem}.", _HOW)
    return keys_in_array(found[0], arrays[found[0]])


def keys_in_file(file: Path) -> Keys:
    """Return the keys in a file beside the array: an .npy file, a CSV file, or text with one key a line."""
    if file.suffix.lower() == ".npy":
        return keys_in_array(file.stem, open_npy(file))
    with file.open("rb") as stream:
        layout = layout_of(stream, _rank)
    kind, place = key_column(layout.headers)
    if kind is None and len(layout.headers) > 1:
        raise Refusal(f"{file.name}: no column names the images. {layout.listed}", _HOW)

    def batches() -> Batches:
        batch: list[str] = [] if kind is not None else [layout.headers[0]]
        with file.open("rb") as stream:
            for _, values in rows_of(stream, layout):
                batch.append(values[place] if place < len(values) else "")
                if len(batch) == BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch

    return Keys(kind or "", layout.headers[place], batches)


def key_column(headers: Sequence[str]) -> tuple[str | None, int]:
    """Return the kind and the place of the column of the keys; the kind is None if no column has a usual name."""
    lower = [name.lower() for name in headers]
    if (key := key_of(headers)) is not None:
        return key.kind, key.place
    place = next((place for place, name in enumerate(lower) if name in _KEYS), None)
    return (None, 0) if place is None else (_KEYS[lower[place]], place)


def _rank(headers: Sequence[str]) -> int:
    return max(key_rank(headers), int(any(name.lower() in _KEYS for name in headers)))


def with_kind(keys: Keys, kind: str) -> Keys:
    """Return the keys as ``kind`` says, or with a kind found from their name or content. Raises Refusal."""
    if not kind:
        return keys.resolved()
    if kind not in _KINDS:
        raise Refusal(f"Images cannot be named by {kind!r}.", f"Choose one of {', '.join(_KINDS)}.")
    return Keys(kind, keys.name, keys.batches)


# -- Parquet ---------------------------------------------------------------------------------------
def open_parquet(file: Path) -> Any:
    """Open a Parquet file. Raises Refusal if it is none, or pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise Refusal("Parquet files need the Python package pyarrow.", "Run uv sync --extra parquet.") from error
    try:
        return pq.ParquetFile(file, memory_map=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise Refusal(f"{file.name} is not a Parquet file, or it is cut short ({error}).") from error


def parquet_keys(table: Any) -> Keys:
    """Return the keys of a Parquet file: its column with a usual name. Raises Refusal."""
    names = list(table.schema_arrow.names)
    kind, place = key_column(names)
    if kind is None:
        raise Refusal(f"No column names the images. The columns are {', '.join(map(repr, names[:20]))}.", _HOW)

    def batches() -> Batches:
        for batch in table.iter_batches(batch_size=BATCH, columns=[names[place]]):
            yield ["" if value is None else str(value) for value in batch.column(0).to_pylist()]

    return Keys(kind, names[place], batches)


# -- Files -----------------------------------------------------------------------------------------
def require_file(file: Path, suffixes: Sequence[str]) -> None:
    """Raise Refusal if there is no such file, or its name has another ending."""
    if not file.is_file():
        raise Refusal(f"There is no file {file}.")
    if file.suffix.lower() not in suffixes:
        raise Refusal(f"{file.name} cannot be imported.", f"Expected a file that ends in {', '.join(suffixes)}.")
