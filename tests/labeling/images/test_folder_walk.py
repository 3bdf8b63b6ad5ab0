"""Test walking a folder: order, links, cycles and permissions."""

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.images.file_check import examine
from labeling.images.folder_walk import count, walk
from labeling.images.natural_order import natural_key
from labeling.images.open_image import DEFAULT_EXTENSIONS
from labeling.images.problems import ImageProblem


def names(root: Path, **kwargs: Path) -> list[str]:
    return [file.path for file in walk(root, DEFAULT_EXTENSIONS, **kwargs)]


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def test_walk_finds_images_below_in_a_fixed_order(tmp_path: Path) -> None:
    touch(tmp_path, "z.png", "a.JPG", "b/2.png", "b/1.png", "b/deep/0.fits", "a/9.webp", "notes.txt", "png")
    touch(tmp_path, ".hidden.png", ".git/x.png", "__MACOSX/x.png", "._a.JPG")
    assert names(tmp_path) == ["a.JPG", "z.png", "a/9.webp", "b/1.png", "b/2.png", "b/deep/0.fits"]
    assert count(tmp_path, DEFAULT_EXTENSIONS, threading.Event()) == 6
    assert [file.path for file in walk(tmp_path, [".webp"])] == ["a/9.webp"]


def test_walk_goes_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "frame10.png", "frame2.png", "Frame1.png", "frame02.png", "night10/1.png", "night9/20.png")
    touch(tmp_path, "night9/3.png", "x1y10.png", "x1y9.png", "7.png", "10.png", "a.png", f"n{'9' * 60}.png", "n2²1.png")
    assert names(tmp_path) == [
        "7.png", "10.png", "a.png", "Frame1.png", "frame02.png", "frame2.png", "frame10.png", "n2²1.png",
        f"n{'9' * 60}.png", "x1y9.png", "x1y10.png", "night9/3.png", "night9/20.png", "night10/1.png",
    ]  # fmt: skip


@given(st.lists(st.text("aB019٣²-. ", max_size=8), max_size=8))
def test_natural_order_compares_numbers_by_value(texts: list[str]) -> None:
    """Compare with lists of texts and numbers, part by part."""

    def slow_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
        parts = re.findall(r"[0-9]+|[^0-9]", name.casefold())
        return [(48, int(part), "") if part[0] in "0123456789" else (ord(part), 0, part) for part in parts], name

    assert sorted(texts, key=natural_key) == sorted(texts, key=slow_key)


def test_walk_leaves_out_the_store(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "store/thumbnails/b.png")
    assert names(tmp_path, skip=tmp_path / "store") == ["a.png"]


def test_walk_keeps_strange_names(tmp_path: Path) -> None:
    strange = ["<img src=x>.png", "a\nb.png", "naïve 🦆.png", "“quoted” & 'so'.png"]
    if sys.platform == "win32":
        strange = strange[2:]
    touch(tmp_path, *strange)
    assert names(tmp_path) == sorted(strange)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_are_followed_inside_only_and_never_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(tmp_path, "outside/secret.png")
    touch(root, "real/a.png")
    (root / "link.png").symlink_to(root / "real" / "a.png")
    (root / "nothing.png").symlink_to(root / "gone.png")
    (root / "self.png").symlink_to(root / "self.png")
    (root / "secret.png").symlink_to(tmp_path / "outside" / "secret.png")
    (root / "also").symlink_to(root / "real")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "real" / "up").symlink_to(root)
    (root / "notes").symlink_to("/etc/hosts")
    problems = {file.path: file.problem for file in walk(root, DEFAULT_EXTENSIONS)}
    assert problems.pop("real/a.png") == ""
    assert problems.pop("link.png") == ""
    assert "target of this link does not exist" in problems.pop("nothing.png")
    assert "part of a cycle" in problems.pop("self.png")
    assert "outside the folder" in problems.pop("secret.png")
    assert "outside the folder" in problems.pop("out")
    assert "a folder that contains it" in problems.pop("real/up")
    assert problems == {}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_root_that_is_a_link_is_walked(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert names(tmp_path / "link") == ["a.png"]


@pytest.fixture
def unprivileged_folder() -> Iterator[Path]:
    """Create a folder, and run the test as a user subject to permissions even if root runs it."""
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions are another matter on Windows")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
            for path in folder.rglob("*"):
                path.chmod(0o755)


def test_what_may_not_be_read_is_a_problem(unprivileged_folder: Path) -> None:
    touch(unprivileged_folder, "a.png", "closed/b.png", "open/c.png")
    (unprivileged_folder / "a.png").chmod(0)
    (unprivileged_folder / "closed").chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    problems = {file.path: file.problem for file in walk(unprivileged_folder, DEFAULT_EXTENSIONS)}
    assert problems.keys() == {"a.png", "closed", "open/c.png"}
    assert "permission denied" in problems["closed"]
    with pytest.raises(ImageProblem, match="no permission"):
        examine(unprivileged_folder / "a.png")
