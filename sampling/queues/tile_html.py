"""Write the HTML of tiles. A page has up to 240 of them, and templates take ten times as long (ADR 44)."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from django.utils.safestring import SafeString, mark_safe

from labeling.display.item_frames import ItemFrames, RoleFrame
from labeling.display.signed_thumbs import SignedThumbs
from labeling.models import FLAG, Frame, LabelClass, State
from labeling.notes.tags import without_flag
from labeling.templatetags.item_display import percent, printable
from modeling.predictions import Suggestion
from sampling.queues.deal import Tile

# Narrower images are enlarged with their pixels as squares.
_SMALL = 128
_STATE_NAMES = {int(state): state.display_name for state in State}


def tiles_html(thumbs: SignedThumbs, tiles: Iterable[Tile], *, marks: str = "check") -> SafeString:
    """Return the elements of the grid; ``marks`` is the icon of marked tiles."""
    # Every value that is not a number is escaped in the functions below.
    return mark_safe("\n".join(_tile(thumbs, tile, marks) for tile in tiles))  # noqa: S308


def _tile(thumbs: SignedThumbs, tile: Tile, marks: str) -> str:
    item, label = tile.item, tile.label
    path, reason = escape(printable(item.path)), escape(tile.reason)
    missing = [escape(printable(role)) for role in tile.item_frames.missing] if tile.item_frames else []
    name = f"{path}, no {', no '.join(missing)}" if missing else path
    title = f"{path}&#10;{reason}" + (f"&#10;Missing: {', '.join(missing)}" if missing else "")
    described = f"{name}, {_STATE_NAMES[item.state]}" + (f" {escape(label.name)}" if label else "")
    changed = ""
    if item.is_content_changed:
        changed = " data-changed"
        title += "&#10;The file changed after this decision."
        described += ", file changed since"
    remarks, icons, remarked = _remarks(tile)
    pictures = _frames(thumbs, tile.item_frames) if tile.item_frames else _picture(thumbs, tile.frame)
    return (
        f'<div class="tile" id="item-{item.pk}" role="option" tabindex="-1" aria-selected="false"'
        f' data-item="{item.pk}" data-row="{item.row}"{" data-later" if tile.is_later else ""}'
        f' data-seen="{item.newest_annotation_id}" data-state="{item.state}" data-label="{label.pk if label else ""}"'
        f'{changed}{remarks} data-shown="{escape(tile.shown_json)}" data-name="{name}" title="{title}"'
        f' aria-label="{described}{remarked}">\n'
        f"{pictures}\n{_chip(tile)}\n{icons}"
        '<span class="file-changed" aria-hidden="true">file changed</span>\n'
        '<span class="tile-similar" aria-hidden="true" title="Show similar images (S)">'
        '<svg class="icon"><use href="#i-similar"/></svg></span>\n'
        f'<span class="tick"><svg class="icon" aria-hidden="true"><use href="#i-{marks}"/></svg></span>'
        f'<i class="unsaved"></i><span class="reason" aria-hidden="true">{reason}</span>\n{_suggestion(tile)}\n</div>'
    )


def _remarks(tile: Tile) -> tuple[str, str, str]:
    """Return what people remarked about the item: as data attributes, as icons, and as text to be read out.

    After a change, static/js/remarks.js draws the same.
    """
    if not (tile.tags or tile.is_noted):
        return "", "", ""
    is_flagged, tags = FLAG in tile.tags, without_flag(tile.tags)
    texts = [*["flagged"] * is_flagged, *[f"tagged {', '.join(tags)}"] * bool(tags), *["has a note"] * tile.is_noted]
    data = f"{' data-flagged' * is_flagged}{' data-noted' * tile.is_noted}"
    data += f' data-tags="{escape(";".join(tags))}"' if tags else ""
    names = [*["flag"] * is_flagged, *["tag"] * bool(tags), *["note"] * tile.is_noted]
    icons = "".join(f'<svg class="icon remark-{name}"><use href="#i-{name}"/></svg>' for name in names)
    icons = f'<span class="tile-notes" aria-hidden="true" title="{escape(", ".join(texts))}">{icons}</span>\n'
    return data, icons, "".join(f", {escape(text)}" for text in texts)


def _picture(thumbs: SignedThumbs, frame: Frame) -> str:
    return f'<span class="picture{_small(frame.width < _SMALL)}">{_image(thumbs.of_frame(frame), frame)}</span>'


def _frames(thumbs: SignedThumbs, frames: ItemFrames) -> str:
    """Return all frames of an item and its color image. The page's layout decides which are visible."""
    parts = "".join(_frame(thumbs, part) for part in frames.parts)
    if frames.no_colour or frames.band is None:
        color = f'<span class="frame color none"><small>{escape(frames.no_colour)}</small></span>'
    else:
        color = f'<span class="frame color">{_image(thumbs.of_colors(frames), frames.band, is_lazy=True)}</span>'
    return f'<span class="picture frames{_small(frames.is_small)}">{parts}{color}</span>'


def _frame(thumbs: SignedThumbs, part: RoleFrame) -> str:
    first, role = " on" if part.is_first else "", escape(printable(part.role))
    if part.frame is None:
        return f'<span class="frame{first} none"><small>no {role}</small></span>'
    image = _image(thumbs.of_frame(part.frame), part.frame, is_lazy=True)
    return f'<span class="frame{first}">{image}<small>{role}</small></span>'


def _image(url: str, frame: Frame, *, is_lazy: bool = False) -> str:
    lazy = ' loading="lazy"' if is_lazy else ""
    size = f'width="{frame.width}" height="{frame.height}"'
    return f'<img src="{escape(url)}" {size} alt=""{lazy} decoding="async" draggable="false">'


def _small(is_small: bool) -> str:
    return " small" if is_small else ""


def _chip(tile: Tile) -> str:
    color = f' style="--c:{escape(tile.label.colour)}"' if tile.label else ""
    name = escape(tile.label.name) if tile.label else ""
    return f'<span class="chip"{color}><kbd></kbd><i class="dot"></i><span class="name">{name}</span></span>'


def _suggestion(tile: Tile) -> str:
    if tile.question:
        return f'<span class="border-pair">{escape(tile.question)}</span>'
    if tile.suggestion is None:
        return ""
    label = tile.suggestion.label
    return (
        f'<span class="suggestion" data-suggested="{label.pk}">{_class_name(label)}'
        f"<b>{percent(tile.suggestion.probability)}</b></span>{_runner_up(tile.runner_up)}"
    )


def _runner_up(guess: Suggestion | None) -> str:
    if guess is None:
        return ""
    label = guess.label
    title = f"Label as {escape(label.name)} ({percent(guess.probability)})"
    return (
        f'<span class="runner-up" aria-hidden="true" data-runner-up="{label.pk}" title="{title}">'
        f"{_class_name(label)}</span>"
    )


def _class_name(label: LabelClass) -> str:
    return (
        f'<i class="dot" style="--c:{escape(label.colour)}"></i><kbd>{escape(label.key_name.upper())}</kbd>'
        f'<span class="name">{escape(label.name)}</span>'
    )
