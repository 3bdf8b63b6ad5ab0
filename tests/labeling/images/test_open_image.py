"""Test opening, examining and shrinking image files, with valid and damaged files of all kinds."""

import errno
import hashlib
import os
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from labeling.images import file_check, stretch, thumbnails
from labeling.images.browser_formats import format_for_browsers
from labeling.images.file_check import examine
from labeling.images.open_image import ImageProblem, open_image
from labeling.images.problems import MAX_PIXELS
from tests.factories import call_before, not_none
from tests.labeling.images.pictures import noise, oriented, png_file
from tests.labeling.images.quadrants import assert_refused

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def quadrants(width: int = 48, height: int = 32) -> Image.Image:
    """Return an image with red and green above blue and white, which differs in each orientation."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(WHITE, (width // 2, height // 2, width, height))
    return image


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Return the colors at the centers of the four quadrants, rounded so that JPEG does not change them."""
    width, height = image.size
    places = [(x, y) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [tuple(round(channel / 64) for channel in image.getpixel(place)) for place in places]


# -- Formats, modes, orientation ------------------------------------------------------------------
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp", "gif"])
def test_every_format_opens_and_is_examined(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"image.{suffix}"
    quadrants().save(file)
    image = open_image(file)
    assert (image.mode, image.size) == ("RGB", (48, 32))
    assert corners(image) == corners(quadrants())
    examined = examine(file)
    assert (examined.width, examined.height) == (48, 32)
    assert examined.format == {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    assert examined.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    status = file.stat()
    assert (examined.size, examined.mtime_ns) == (status.st_size, status.st_mtime_ns)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_images_are_upright_by_exif(tmp_path: Path, suffix: str, turn: int) -> None:
    # The image as a camera in this orientation stores it: the inverse of the turn that makes it upright.
    camera = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    held = quadrants().transpose(camera[turn]) if turn in camera else quadrants()
    file = tmp_path / f"image.{suffix}"
    held.save(file, exif=oriented(turn))
    for image in (open_image(file), open_image(file, max_side=24)):
        assert corners(image) == corners(quadrants())
        assert image.width > image.height
    examined = examine(file)
    assert (examined.width, examined.height) == (48, 32)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_exif_block_costs_only_the_orientation(tmp_path: Path) -> None:
    file = tmp_path / "image.jpg"
    quadrants().save(file, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f garbage")
    assert corners(open_image(file)) == corners(quadrants())
    assert examine(file).width == 48


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LA", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    file = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image = quadrants().quantize(8) if mode == "P" else quadrants().convert(mode)
    image.save(file)
    opened = open_image(file)
    assert opened.mode == "RGB"
    expected = quadrants().convert("1" if mode == "1" else "L" if mode in {"L", "LA"} else "RGB").convert("RGB")
    difference = np.abs(np.asarray(opened, int) - np.asarray(expected, int))
    assert difference.max() <= 6


def test_transparency_lies_on_mid_gray(tmp_path: Path) -> None:
    layer = Image.new("RGBA", (4, 4), (255, 0, 0, 255))
    layer.putpixel((0, 0), (255, 255, 255, 0))
    layer.putpixel((1, 0), (255, 255, 255, 128))
    layer.save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png")
    assert image.getpixel((0, 0)) == (128, 128, 128)
    assert image.getpixel((3, 3)) == (255, 0, 0)
    assert abs(image.getpixel((1, 0))[0] - 192) <= 1


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_deep_gray_is_stretched_and_not_white(tmp_path: Path, dtype: type) -> None:
    ramp = np.linspace(1000, 3000, 64 * 64).reshape(64, 64).astype(dtype)
    ramp[0, 0] = 60000  # a hot pixel must not determine the limits
    Image.fromarray(ramp).save(tmp_path / "deep.tif")
    values = np.asarray(open_image(tmp_path / "deep.tif"))[..., 0]
    assert values[0, 1] == 0
    assert values[63, 63] == 255
    assert abs(int(values[32, 0]) - 128) <= 3


def test_16_bit_png_is_stretched(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(100, 4000, 400).reshape(20, 20).astype(np.uint16)).save(tmp_path / "deep.png")
    values = np.asarray(open_image(tmp_path / "deep.png"))[..., 0]
    assert values.min() == 0
    assert values.max() == 255
    assert 100 < values.mean() < 155


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_several_frames_the_first_counts(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"moving.{suffix}"
    Image.new("RGB", (8, 8), RED).save(file, save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)])
    red, _, blue = open_image(file).getpixel((4, 4))
    assert red > 200
    assert blue < 50
    assert format_for_browsers(file) == ""


def test_max_side_shrinks_and_never_enlarges(tmp_path: Path) -> None:
    noise(400, 300).save(tmp_path / "large.jpg")
    noise(20, 10).save(tmp_path / "small.png")
    assert open_image(tmp_path / "large.jpg", max_side=100).size == (100, 75)
    assert open_image(tmp_path / "small.png", max_side=100).size == (20, 10)


def test_a_wrong_name_does_not_matter(tmp_path: Path) -> None:
    quadrants().save(tmp_path / "image.png", "JPEG")
    assert examine(tmp_path / "image.png").format == "JPEG"
    assert corners(open_image(tmp_path / "image.png")) == corners(quadrants())


# -- FITS -----------------------------------------------------------------------------------------
def test_fits_shows_row_0_at_the_bottom_and_survives_nan(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sky = rng.normal(100, 5, (60, 80)).astype(np.float32)
    sky[:10] += 50  # bright rows at the start of the array, the bottom of the picture
    sky[30, 40], sky[31, 40], sky[32, 40] = np.nan, np.inf, 1e30
    astropy_fits.PrimaryHDU(sky).writeto(tmp_path / "sky.fits")
    values = np.asarray(open_image(tmp_path / "sky.fits"))[..., 0]
    assert values.shape == (60, 80)
    assert values[-10:].mean() > values[:-10].mean() + 50
    assert values[59 - 30, 40] == 0
    assert 30 < np.median(values) < 225
    assert examine(tmp_path / "sky.fits").format == "FITS"


@pytest.mark.parametrize("compressed", [False, True])
def test_fits_takes_the_first_plane_of_the_first_image(tmp_path: Path, compressed: bool) -> None:
    cube = np.zeros((3, 40, 50), np.int16)
    cube[0, :, 25:] = 1000
    kind = astropy_fits.CompImageHDU if compressed else astropy_fits.ImageHDU
    table = astropy_fits.BinTableHDU.from_columns([astropy_fits.Column("a", "J", array=[1, 2])])
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), table, kind(cube)]).writeto(tmp_path / "cube.fits")
    values = np.asarray(open_image(tmp_path / "cube.fits"))[..., 0]
    assert values.shape == (40, 50)
    assert values[:, :25].max() == 0
    assert values[:, 25:].min() == 255
    assert (examine(tmp_path / "cube.fits").width, examine(tmp_path / "cube.fits").height) == (50, 40)


def test_a_real_solar_image_opens() -> None:
    import sunpy.data.test

    file = Path(sunpy.data.test.rootdir) / "aia_171_level1.fits"
    values = np.asarray(open_image(file, max_side=64))
    assert values.shape == (64, 64, 3)
    assert values.std() > 20


def test_fits_without_an_image_truncated_or_unknown_says_so(tmp_path: Path) -> None:
    table = astropy_fits.BinTableHDU.from_columns([astropy_fits.Column("a", "J", array=[1, 2])])
    table.writeto(tmp_path / "table.fits")
    astropy_fits.PrimaryHDU(np.ones((200, 200), np.float32)).writeto(tmp_path / "whole.fits")
    (tmp_path / "cut.fits").write_bytes((tmp_path / "whole.fits").read_bytes()[:20_000])
    astropy_fits.PrimaryHDU(np.full((5, 5), np.nan, np.float32)).writeto(tmp_path / "nan.fits")
    for name, message in [("table", "no image"), ("cut", "truncated"), ("nan", "no finite value")]:
        assert_refused(tmp_path / f"{name}.fits", message)


# -- Files that cannot be read ------------------------------------------------------------------
BOMB = png_file(100_000, 90_000, zlib.compress(b""))  # a tiny file whose header declares a huge picture


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"Hello, this is a note about the image.\n" * 3, "text"),
        ("Grüße aus dem Süden, ein Text\n".encode() * 40, "text"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b"%PDF-1.7 and so on", "PDF"),
        (b"PK\x03\x04 and so on", "ZIP"),
        (bytes(1000), "only zeros"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (bytes(range(256)) * 4, "not an image in a supported format"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (BOMB, r"100,000 × 90,000 pixels \(9,000 megapixels\)\. The limit is 200"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "image.jpg"
    file.write_bytes(content)
    assert_refused(file, message, by=(examine, open_image, format_for_browsers))


def test_a_bomb_of_fits_is_refused_by_its_header(tmp_path: Path) -> None:
    size = [("NAXIS", 2), ("NAXIS1", 20_000), ("NAXIS2", MAX_PIXELS // 20_000 + 1)]
    header = astropy_fits.Header([("SIMPLE", True), ("BITPIX", 8), *size])
    file = tmp_path / "bomb.fits"
    with file.open("wb") as stream:
        stream.write(header.tostring().encode())
        stream.truncate(MAX_PIXELS + 100_000)  # sparse, so it uses no disk space
    with pytest.raises(ImageProblem, match="megapixels"):
        open_image(file)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp", "gif"])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.97])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise(200, 150).save(tmp_path / f"whole.{suffix}")
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    file = tmp_path / f"cut.{suffix}"
    file.write_bytes(content[: int(len(content) * share)])
    assert_refused(file, r"truncated|damaged")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(["jpg", "png", "tif", "webp", "bmp", "gif", "fits"]),
    hits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
    share=st.floats(0.01, 1),
)
def test_damaged_bytes_never_raise_anything_else(
    tmp_path: Path, suffix: str, hits: list[tuple[float, int]], share: float
) -> None:
    whole = tmp_path / f"whole.{suffix}"
    if not whole.exists():
        if suffix == "fits":
            astropy_fits.PrimaryHDU(np.arange(600, dtype=np.int16).reshape(20, 30)).writeto(whole)
        else:
            noise(30, 20).save(whole)
    content = bytearray(whole.read_bytes())
    content = content[: max(1, int(len(content) * share))]
    for place, value in hits:
        content[int(place * min(len(content), 400))] = value
    file = tmp_path / f"damaged.{suffix}"
    file.write_bytes(content)
    for read in (examine, open_image, format_for_browsers):
        with suppress(ImageProblem):
            read(file)


def test_missing_folders_and_pipes_are_problems(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for path, message in [(tmp_path / "gone.png", "no longer exists"), (tmp_path / "folder.png", "not a regular file")]:
        with pytest.raises(ImageProblem, match=message):
            examine(path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageProblem, match="not a regular file"):
            examine(tmp_path / "pipe.png")


def test_large_files_are_hashed_as_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_check, "_IN_MEMORY", 10)
    noise(50, 40).save(tmp_path / "a.png")
    examined = examine(tmp_path / "a.png")
    assert examined.sha256 == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert (examined.width, examined.height) == (50, 40)


def test_a_file_that_grows_while_it_is_read_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "growing.bmp"
    noise(50, 40).save(file)
    call_before(monkeypatch, file_check, "decoded", lambda *_: file.write_bytes(file.read_bytes() + b"more"))
    with pytest.raises(ImageProblem, match="changed while"):
        examine(file)


# -- Stretching -----------------------------------------------------------------------------------
def by_percentile(values: np.ndarray) -> np.ndarray:
    return stretch.between(values, *stretch.limits(values, "percentile"))


def test_stretch_of_few_bright_spots_and_of_nothing() -> None:
    dark = np.zeros((100, 100), np.uint16)
    assert by_percentile(dark).max() == 0
    dark[50, 50] = 40_000
    assert by_percentile(dark)[50, 50] == 255
    assert by_percentile(np.full((3, 3), np.nan, np.float32)).max() == 0


def test_stretch_clips_and_maps_linearly() -> None:
    values = np.array([[-np.inf, 0, 50], [100, 1e38, np.nan]], np.float32)
    assert stretch.between(values, 0, 100).tolist() == [[0, 0, 128], [255, 255, 0]]


# -- Browsers ---------------------------------------------------------------------------------------
def test_browsers_get_only_what_they_show_alike(tmp_path: Path) -> None:
    quadrants().save(tmp_path / "turned.jpg", exif=oriented(6))
    quadrants().save(tmp_path / "turned.png", exif=oriented(6))
    quadrants().save(tmp_path / "plain.png")
    quadrants().convert("CMYK").save(tmp_path / "cmyk.jpg")
    quadrants().save(tmp_path / "plain.tif")
    Image.fromarray(np.ones((4, 4), np.uint16)).save(tmp_path / "deep.png")
    astropy_fits.PrimaryHDU(np.ones((4, 4), np.float32)).writeto(tmp_path / "a.fits")
    names = ["turned.jpg", "turned.png", "plain.png", "cmyk.jpg", "plain.tif", "deep.png", "a.fits"]
    assert [format_for_browsers(tmp_path / name) for name in names] == ["JPEG", "", "PNG", "", "", "", ""]


# -- Thumbnails -------------------------------------------------------------------------------------
def cache_in(tmp_path: Path, megabytes: int = 16) -> thumbnails.Cache:
    return thumbnails.Cache(tmp_path / "cache", megabytes)


def test_thumbnails_shrink_and_are_made_once(tmp_path: Path) -> None:
    noise(800, 400).save(tmp_path / "a.png")
    cache = cache_in(tmp_path)
    file = thumbnails.thumbnail(tmp_path / "a.png", "ab" * 32, 256, cache)
    assert file == cache.folder / "ab" / f"{'ab' * 32}-256.jpg"
    with Image.open(file) as image:
        assert (image.format, image.size) == ("JPEG", (256, 128))
    (tmp_path / "a.png").unlink()
    assert thumbnails.thumbnail(tmp_path / "a.png", "ab" * 32, 256, cache) == file


def test_small_images_are_kept_exact(tmp_path: Path) -> None:
    noise(28, 28).save(tmp_path / "a.png")
    file = thumbnails.thumbnail(tmp_path / "a.png", "cd" * 32, 256, cache_in(tmp_path))
    with Image.open(file) as image:
        assert (image.format, image.size) == ("PNG", (28, 28))
        assert np.array_equal(np.asarray(image), np.asarray(noise(28, 28)))


def test_many_threads_may_ask_at_once_and_leave_nothing_behind(tmp_path: Path) -> None:
    noise(600, 600).save(tmp_path / "a.jpg")
    cache = cache_in(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(thumbnails.thumbnail, tmp_path / "a.jpg", "ef" * 32, 256, cache) for _ in range(24)]
        assert len({future.result() for future in asked}) == 1
    names = sorted(file.name for file in (cache.folder / "ef").iterdir())
    assert names == [f"{'ef' * 32}-256.jpg", "making.lock"]


def test_who_asks_at_once_waits_for_the_one_who_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise(600, 600).save(tmp_path / "a.jpg")
    calls: list[Any] = []
    call_before(monkeypatch, thumbnails, "render", lambda *args: [calls.append(args), time.sleep(0.05)])
    with ThreadPoolExecutor(6) as pool:
        for _ in range(12):
            pool.submit(thumbnails.thumbnail, tmp_path / "a.jpg", "ef" * 32, 256, cache_in(tmp_path))
    assert len(calls) == 1


def test_pictures_that_nobody_looked_at_for_longest_make_room(tmp_path: Path) -> None:
    cache = cache_in(tmp_path)  # 64 KiB per shard
    hashes = [f"ab{number:060x}00" for number in range(10)]
    for number, sha256 in enumerate(hashes):
        os.utime(cache.keep(bytes(9_998) + b"\xff\xd9", ".jpg", sha256, 256), (number + 1, number + 1))
    # The oldest pictures were removed when later ones were added, because each name here triggers its shard's check.
    assert [cache.find(sha256, 256) is not None for sha256 in hashes] == [number >= 3 for number in range(10)]
    # The others were accessed just now. Any of them may be removed, but never the newest.
    newest = cache.keep(bytes(60_000), ".jpg", "ab" + "f" * 60 + "10", 256)
    assert newest.exists()
    assert sum(file.stat().st_size for file in newest.parent.glob("*.jpg")) <= 64 * 1024 + 60_000


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise(600, 600).save(tmp_path / "a.jpg")
    replace = Path.replace

    monkeypatch.setattr(Path, "replace", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        thumbnails.thumbnail(tmp_path / "a.jpg", "ef" * 32, 256, cache_in(tmp_path))
    # Ingest continues, because a picture is not part of a file's properties.
    noise(700, 700).save(tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 1024 * 1024
    assert file_check.examine(tmp_path / "b.png", keep=file_check.Keep(cache_in(tmp_path))).width == 700
    monkeypatch.setattr(Path, "replace", replace)
    assert [file for file in (tmp_path / "cache").rglob("*") if file.suffix in {".part", ".jpg"}] == []


def test_reading_a_large_file_keeps_the_picture_that_a_page_would_ask_for(tmp_path: Path) -> None:
    noise(1500, 1000).save(tmp_path / "a.jpg", quality=98)
    examined = file_check.examine(tmp_path / "a.jpg", keep=file_check.Keep(cache_in(tmp_path)))
    file = not_none(cache_in(tmp_path).find(examined.sha256, 256))
    assert file.read_bytes() == thumbnails.render(tmp_path / "a.jpg", 256)[0]
    assert (examined.width, examined.height) == (1500, 1000)


def test_a_thumbnail_of_a_broken_file_is_a_problem_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image at all")
    with pytest.raises(ImageProblem):
        thumbnails.thumbnail(tmp_path / "a.png", "aa" * 32, 256, cache_in(tmp_path))
    assert [file.name for file in (tmp_path / "cache" / "aa").iterdir()] == ["making.lock"]
