"""Test names of folders and files that every file system accepts."""

import re
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.exporting.names import flat_name, folder_names, stem_and_ending


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cat", "cat"),
        ("spiral galaxy", "spiral galaxy"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("..", "%2E%2E"),
        (".hidden", "%2Ehidden"),
        ("ends.", "ends%2E"),
        ("CON", "%43ON"),
        ("lpt1.txt", "%6Cpt1.txt"),
        ("console", "console"),
        ("test", "%74est"),
        ("my train-set", "my %74rain-set"),
        ("latest", "latest"),
        ("Ünïcode 😀", "Ünïcode 😀"),
    ],
)
def test_a_class_name_becomes_a_folder_name(name: str, folder: str) -> None:
    assert folder_names([name]) == {name: folder}


def test_names_that_differ_only_by_case_or_accents_get_different_folders() -> None:
    names = ["cat", "Cat", "CAT", "caf\u00e9", "cafe\u0301"]
    folders = folder_names(names)
    assert folders["cat"] == "cat"
    assert len({folder.casefold() for folder in folders.values()}) == len(names)
    assert [unquote(folder) for folder in folders.values()] == names


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), unique=True, max_size=8))
def test_any_names_come_back_and_are_different_and_safe(names: list[str]) -> None:
    folders = folder_names(names)
    assert [unquote(folder) for folder in folders.values()] == names
    compared = {unicodedata.normalize("NFC", folder).casefold() for folder in folders.values()}
    assert len(compared) == len(names)
    for folder in folders.values():
        assert not re.search(r'[/\\:*?"<>|\x00-\x1f]', folder)
        assert not folder.startswith((".", " "))
        assert not folder.endswith((".", " "))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b/image.1.PNG", "7_a_b_image_1.PNG"),
        ("night 1/M31.fits.gz", "7_night_1_M31.fits.gz"),
        ("no ending", "7_no_ending"),
        ("v1.2/scan", "7_v1_2_scan"),
        ("x/" * 100 + "end.jpg", "7_" + ("x_" * 100 + "end")[-80:] + ".jpg"),
        ("../😀.png", "7__.png"),
    ],
)
def test_a_path_becomes_a_file_name(path: str, name: str) -> None:
    assert flat_name(7, path) == name


def test_the_ending_of_a_packed_file_has_two_parts() -> None:
    assert stem_and_ending("a.fits.gz") == ("a", ".fits.gz")
    assert stem_and_ending("a.b.png") == ("a.b", ".png")
    assert stem_and_ending("a") == ("a", "")
