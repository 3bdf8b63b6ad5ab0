"""Write tiles: markup in names stays text, and every part of a tile says what it has to."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from labeling.decisions.provenance import Shown
from labeling.display.item_frames import item_frames
from labeling.display.signed_thumbs import SignedThumbs
from labeling.models import Dataset, Frame, Item, LabelClass, State
from modeling.predictions import Suggestion
from sampling.queues.deal import Tile
from sampling.queues.tile_html import tiles_html

HOSTILE = "\"'><script>alert(1)</script>&amp;\n\u202e{{ 7 }}%s{0}"


class Elements(HTMLParser):
    """Collect the elements and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def tile_of(
    dataset: Dataset, item: Item, frames: list[Frame], label: LabelClass | None = None, guess: Suggestion | None = None
) -> Tile:
    shown = Shown(round_id=3, rank=7, score=0.25)
    parts = item_frames(dataset, frames)
    return Tile(item, parts.first if parts else frames[0], parts, 7, shown, HOSTILE, guess, label)


def label_of(name: str) -> LabelClass:
    return LabelClass(pk=5, name=name, colour="#0072B2")


def frame_of(dataset: Dataset, role: str = "image", width: int = 64) -> Frame:
    return Frame(pk=9, item_id=4, dataset=dataset, role=role, sha256="a" * 64, width=width, height=48)


def labeled_tile(name: str, role: str = "") -> Elements:
    """Return the elements of a labeled tile whose path, class and suggestion have this name."""
    dataset = Dataset(pk=1, name="x", slug="x", roles=[role, "ref"] if role else [])
    item = Item(pk=4, dataset=dataset, row=2, path=name, state=State.LABELLED)
    frames = [frame_of(dataset, role or "image")]
    tile = tile_of(dataset, item, frames, label_of(name), Suggestion(label_of(name), 0.72))
    return Elements(tiles_html(SignedThumbs(dataset, "s"), [tile]))


@pytest.mark.parametrize("role", ["", HOSTILE])
def test_names_stay_text(role: str) -> None:
    found, plain = labeled_tile(HOSTILE, role), labeled_tile("a", role and "b")
    assert found.tags == plain.tags
    assert "script" not in found.tags
    assert [set(names) for names in found.attributes] == [set(names) for names in plain.attributes]
    assert found.texts.count(HOSTILE) == 3  # the label, the reason and the suggestion
    one_line = HOSTILE.replace("\n", "\\n").replace("\u202e", "\\u202e")
    first = found.attributes[0]
    assert str(first["data-name"]).startswith(one_line)
    assert str(first["title"]).split("\n")[1:3] == HOSTILE.split("\n")


def test_a_tile() -> None:
    dataset = Dataset(pk=1, name="x", slug="x")
    item = Item(pk=12_345, dataset=dataset, row=1_234_567, path="a.png", newest_annotation_id=2_000)
    html = tiles_html(
        SignedThumbs(dataset, "s"),
        [tile_of(dataset, item, [frame_of(dataset)], None, Suggestion(label_of("star"), 0.999))],
    )
    found = Elements(html)
    tile, image = found.attributes[0], found.attributes[found.tags.index("img")]
    assert tile["id"] == "item-12345"
    assert (tile["data-row"], tile["data-seen"], tile["data-state"], tile["data-label"]) == ("1234567", "2000", "0", "")
    assert tile["data-shown"] == '{"round_id":3,"rank":7,"score":0.25}'
    assert tile["aria-label"] == "a.png, unlabeled"
    assert "data-changed" not in tile
    assert str(image["src"]).startswith("/api/thumb/4?v=aaaaaaaaaaaa&k=")
    assert (image["width"], image["height"]) == ("64", "48")
    assert "star" in found.texts
    assert "over 99 %" in found.texts
    assert "small" in str(found.attributes[1]["class"])
    assert "#i-check" in html
    assert "#i-close" in tiles_html(
        SignedThumbs(dataset, "s"), [tile_of(dataset, item, [frame_of(dataset)])], marks="close"
    )


def test_missing_frames_are_named() -> None:
    dataset = Dataset(pk=1, name="x", slug="x", roles=["target", "ref", "diff"])
    item = Item(pk=4, dataset=dataset, row=2, path="a")
    found = Elements(
        tiles_html(SignedThumbs(dataset, "s"), [tile_of(dataset, item, [frame_of(dataset, "target", 200)])])
    )
    tile = found.attributes[0]
    assert tile["aria-label"] == "a, no ref, no diff, unlabeled"
    assert str(tile["title"]).endswith("\nMissing: ref, diff")
    assert {"no ref", "no diff", "target"} <= set(found.texts)
    image = found.attributes[found.tags.index("img")]
    assert str(image["src"]).startswith("/api/thumb/4?frame=target&v=aaaaaaaaaaaa&k=")
