"""Test that reading selected header cards gives the same values as reading the whole file with astropy."""

import gzip
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import sunpy.data.test
from astropy.io import fits

from labeling.images import file_headers, fits_cards
from labeling.images.file_headers import header_of, values_of
from labeling.images.fits import EXTENSIONS, is_fits, open_parts, select_part
from labeling.images.problems import ImageProblem
from labeling.images.rendering import Rendering
from labeling.images.source_file import as_image_problems, regular_file

IMAGE = np.arange(48, dtype=np.int16).reshape(6, 8)


def by_astropy(file: Path, names: Sequence[str], hdu: int | None) -> list[str]:
    with as_image_problems(), regular_file(file) as stream, open_parts(stream) as parts:
        both = [select_part(parts, hdu).header, parts[0].header]
        return [file_headers._value(both, name) for name in names]


def values_or_reason(work: Callable[..., list[str]], *args: object) -> list[str] | str:
    try:
        return work(*args)
    except ImageProblem as problem:
        return problem.reason


def is_plain(file: Path, hdu: int | None = None) -> bool:
    with file.open("rb") as stream:
        try:
            fits_cards.headers_in(stream, [], hdu)
        except fits_cards.NotPlain:
            return False
    return True


def compare(file: Path) -> None:
    """Compare all cards of the file by each of their names, together and some alone, for each displayable part."""
    for hdu in (None, 0, 1, 2, 3):
        rendering = Rendering(hdu=hdu)
        try:
            keywords = {card.name for card in header_of(file, rendering).cards} | {"COMMENT", "HISTORY", "NOWHERE"}
        except ImageProblem:
            keywords = {"OBJECT"}
        names = sorted(keywords | {f"HIERARCH {name}" for name in keywords} | {name.lower() for name in keywords})
        assert values_or_reason(values_of, file, names, rendering) == values_or_reason(by_astropy, file, names, hdu), (
            file.name,
            hdu,
        )
        for name in random.Random(1).sample(names, min(20, len(names))):
            assert values_or_reason(values_of, file, [name], rendering) == values_or_reason(
                by_astropy, file, [name], hdu
            ), (file.name, name)


def begins_like_fits(file: Path) -> bool:
    with file.open("rb") as stream:
        return is_fits(stream)


NAMED_SO = sorted(file for file in Path(sunpy.data.test.rootdir).rglob("*") if file.name.lower().endswith(EXTENSIONS))
SUNPY = [file for file in NAMED_SO if begins_like_fits(file)]


@pytest.mark.parametrize("file", SUNPY, ids=lambda file: file.name)
def test_every_fits_file_of_sunpy(file: Path) -> None:
    compare(file)


@pytest.mark.parametrize("file", sorted({*NAMED_SO} - {*SUNPY}), ids=lambda file: file.name)
def test_what_is_called_fits_and_is_not(file: Path) -> None:
    with pytest.raises(ImageProblem, match="not an image"):
        values_of(file, ["OBJECT"])


def test_most_files_of_sunpy_are_plain() -> None:
    """Check that the tests above cover these files."""
    shown = [file for file in SUNPY if not isinstance(values_or_reason(by_astropy, file, [], None), str)]
    assert sum(map(is_plain, shown)) > 0.8 * len(shown) > 5


# -- Files that are written here --------------------------------------------------------------------------
def header(**cards: object) -> fits.Header:
    result = fits.Header()
    result["OBJECT"] = "M 31 / the near one"
    result["EXPTIME"] = (0.25, "seconds / frame")
    result["LONG"] = ("long " * 60, "goes on")
    result["HIERARCH ESO DET WIN1 NX"] = 17
    result["UNKNOWN"] = None
    result["COMPLEX"] = 1 + 2j
    result["DAY"] = "it's one"
    result.update(cards)
    result.add_history("seen")
    result.add_comment("not seen")
    result.append(("OBJECT", "twice"), end=True)
    return result


def table() -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns([fits.Column("a", "PJ()", array=np.array([[1], [2, 3]], dtype=object))])


WRITTEN: dict[str, Callable[[], list[fits.hdu.base._BaseHDU]]] = {
    "image": lambda: [fits.PrimaryHDU(IMAGE, header())],
    "cube": lambda: [fits.PrimaryHDU(np.stack([IMAGE] * 3), header())],
    "scaled": lambda: [fits.PrimaryHDU(IMAGE.astype(np.uint16), header())],
    "behind": lambda: [fits.PrimaryHDU(None, header(OBJECT="first")), fits.ImageHDU(IMAGE, header())],
    "behind_tables": lambda: [
        fits.PrimaryHDU(np.arange(5), header(FIRST=1)), table(),
        fits.TableHDU.from_columns([fits.Column("a", "I4", array=[1, 2])]),
        fits.ImageHDU(IMAGE, header(OBJECT="last")),
    ],
    "two": lambda: [fits.PrimaryHDU(IMAGE, header()), fits.ImageHDU(IMAGE, header(EXPTIME="other"), name="TWO")],
    "no_image": lambda: [fits.PrimaryHDU(None, header()), table()],
    "groups": lambda: [
        fits.GroupsHDU(fits.GroupData(np.ones((3, 4, 4), np.float32), parnames=["u"], pardata=[[1, 2, 3]]))
    ],
    "records": lambda: [
        fits.PrimaryHDU(IMAGE, fits.Header([("DP1", "NAXIS: 2"), ("DP1", "AXIS.1: 1"), ("DP1", "AXIS.2: 2")]))
    ],
}  # fmt: skip
NOT_PLAIN = {"no_image", "groups"}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
def test_files_as_astropy_writes_them(tmp_path: Path, name: str, packed: bool) -> None:
    file = tmp_path / "a.fits"
    fits.HDUList(WRITTEN[name]()).writeto(file)
    if packed:
        file.write_bytes(gzip.compress(file.read_bytes()))
    assert is_plain(file) == (name not in NOT_PLAIN)
    compare(file)


@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
def test_compressed_images(tmp_path: Path) -> None:
    parts = [
        fits.PrimaryHDU(None, header(OBJECT="first")),
        fits.CompImageHDU(IMAGE, header(), compression_type="RICE_1"),
    ]
    fits.HDUList(parts).writeto(tmp_path / "a.fits.fz")
    assert not is_plain(tmp_path / "a.fits.fz")
    compare(tmp_path / "a.fits.fz")
    assert values_of(tmp_path / "a.fits.fz", ["OBJECT", "NAXIS1", "ESO DET WIN1 NX"]) == [
        "M 31 / the near one",
        "8",
        "17",
    ]


def raw(*cards: str, data: int = 96) -> bytes:
    """Return a file with the given cards, unchanged."""
    head = ["SIMPLE  =                    T", "BITPIX  =                   16", "NAXIS   =                    2",
            "NAXIS1  =                    8", "NAXIS2  =                    6", *cards, "END"]  # fmt: skip
    text = "".join(card.ljust(80) for card in head).encode("latin-1")
    return text.ljust(-(-len(text) // 2880) * 2880) + bytes(data).ljust(2880, b"\0")


STRANGE = {
    "lower_case": raw("object  = 'small'"),
    "early_sign": raw("OBJECT= 'early'", "KEY= 5"),
    "no_sign": raw("OBJECT    'nothing'"),
    "indented": raw(" OBJECT = 'late'"),
    "quotes": raw("OBJECT  = 'it''s / so' / comment", "EXPTIME = 1.0E3"),
    "open_quote": raw("OBJECT  = 'never ends"),
    "control": raw("OBJECT  = 'a\x01b'"),
    "not_ascii": raw("OBJECT  = 'é'"),
    "continued": raw("LONG    = 'one &'", "CONTINUE  'two &'", "CONTINUE  'three'", "OBJECT  = 'after'"),
    "stray_continue": raw("OBJECT  = 'a'", "CONTINUE  'b'"),
    "hierarch": raw("HIERARCH OBJECT = 'long way'", "OBJECT  = 'short'", "HIERARCH ESO A B = 4", "HIERARCH no value"),
    "hierarch_last": raw("OBJECT  = 'short'", "HIERARCH OBJECT = 'long way'"),
    "like_an_end": raw("END     = 3", "OBJECT  = 'a'"),
    "ends": raw("ENDTIME = 3", "END-OBS = 4", "OBJECT  = 'a'"),
    "no_groups": raw("GROUPS  =                    F / none", "OBJECT  = 'a'"),
    "float_axis": raw("NAXIS1  =                  8.0", "OBJECT  = 'a'"),
    "two_axes": raw("NAXIS1  =                    9", "OBJECT  = 'a'"),
    "bits": raw("OBJECT  = 'a'").replace(b"                  16", b"                  12"),
    "no_end": raw("OBJECT  = 'a'").replace(b"END", b"   "),
    "cut": raw("OBJECT  = 'a'")[:1000],
    "header_only": raw("OBJECT  = 'a'")[:2880],
    "not_simple": raw("OBJECT  = 'a'").replace(b"T ", b"F ", 1),
    "rubbish_behind": raw("OBJECT  = 'a'") + b"rubbish" * 1000,
    "zeros_behind": raw("OBJECT  = 'a'") + bytes(5760),
}


@pytest.mark.parametrize("name", STRANGE)
def test_files_that_break_a_rule(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.fits"
    file.write_bytes(STRANGE[name])
    compare(file)


def test_of_a_packed_file_no_more_is_unpacked_than_is_needed(tmp_path: Path) -> None:
    """Read a header without the data after it, because reading a header does not check the file."""
    content = gzip.compress(raw("OBJECT  = 'a'", data=2880), compresslevel=0)
    (tmp_path / "a.fits.gz").write_bytes(content[:-1500])
    assert values_of(tmp_path / "a.fits.gz", ["OBJECT"]) == ["a"]
