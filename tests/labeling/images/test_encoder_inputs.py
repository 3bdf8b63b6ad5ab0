"""Test the cache of encoder inputs, which ingest fills while decoding files."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from labeling.images import decoder_messages, decoder_process
from labeling.images.encoder_inputs import Squares, decode_side, squash
from labeling.images.file_check import Keep, examine
from labeling.images.open_image import open_for_resizing
from labeling.images.rendering import DEFAULT, Rendering
from labeling.images.thumbnails import TILE, Cache
from tests.factories import not_none


def photo(file: Path, width: int = 900, height: int = 700, *, seed: int = 0) -> Path:
    """Write a photo that is large enough for its encoder input to be cached."""
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(file, quality=90)
    return file


def squares(folder: Path, *, side: int = 32, rendering: Rendering = DEFAULT) -> Squares:
    return Squares(folder / "squares", side, rendering)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("side", [32, 224, 299])
def test_what_is_kept_is_what_an_encoder_would_see(tmp_path: Path, suffix: str, side: int) -> None:
    file = photo(tmp_path / f"a.{suffix}")
    for rendering in (DEFAULT, Rendering(is_inverted=True)):
        cache = squares(tmp_path, side=side, rendering=rendering)
        sha256 = examine(file, rendering, Keep(None, cache)).sha256
        cached = not_none(cache.find(sha256))
        seen = squash(open_for_resizing(file, decode_side(side), rendering), side)
        np.testing.assert_array_equal(cached, seen)
    assert len(list((tmp_path / "squares").rglob("*.rgb"))) == 2


def test_the_same_decoding_gives_the_picture_of_the_tile(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg", 1500, 1000)
    keep = Keep(Cache(tmp_path / "pictures", 100), squares(tmp_path))
    sha256 = examine(file, DEFAULT, keep).sha256
    assert keep.squares is not None
    assert keep.pictures is not None
    assert keep.squares.find(sha256) is not None
    assert keep.pictures.find(sha256, TILE) is not None


def test_small_files_are_not_worth_it(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg", 90, 70)
    cache = squares(tmp_path)
    assert cache.find(examine(file, DEFAULT, Keep(None, cache)).sha256) is None


def test_they_are_counted_and_forgotten(tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 300))
    cache = squares(tmp_path, side=64)
    assert cache.count() == 0
    hashes = [f"{number:x}{number:063d}" for number in range(5)]
    for sha256 in hashes:
        cache.keep(image, sha256)
    assert cache.count() == 5
    assert {file.stat().st_size for file in (tmp_path / "squares").rglob("*.rgb")} == {cache.n_bytes}
    cache.drop(hashes[:4])
    assert [cache.find(sha256) is not None for sha256 in hashes] == [False] * 4 + [True]
    assert cache.count() == 1


def test_what_was_cut_off_or_cannot_be_read_is_decoded_again(tmp_path: Path) -> None:
    file = photo(tmp_path / "a.jpg")
    cache = squares(tmp_path)
    sha256 = examine(file, DEFAULT, Keep(None, cache)).sha256
    (place,) = (tmp_path / "squares").rglob("*.rgb")
    place.write_bytes(place.read_bytes()[:-1])
    assert cache.find(sha256) is None
    place.unlink()
    place.mkdir()
    assert cache.find(sha256) is None


def test_no_room_on_the_disk_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = photo(tmp_path / "a.jpg")
    cache = squares(tmp_path)

    monkeypatch.setattr(Path, "replace", Mock(side_effect=OSError(28, "No space left on device")))
    assert examine(file, DEFAULT, Keep(None, cache)).width == 900
    assert [file for file in (tmp_path / "squares").rglob("*") if file.is_file()] == []


def test_they_are_told_to_other_processes(tmp_path: Path) -> None:
    for keep in (Keep(), Keep(Cache(tmp_path, 7)), Keep(None, squares(tmp_path, rendering=Rendering(plane=2)))):
        content = decoder_messages.encode(decoder_messages.Request("examine", [Path("a.png")], (Rendering(), keep)))
        request, call = decoder_messages.decode_request(content, decoder_process.CALLS)
        assert (request.firsts, request.rest, call) == ([Path("a.png")], (Rendering(), keep), examine)
