"""Render pictures before they are requested: those of the page just shown, and of what the queue shows next.

One thread works in the order of the queue; a newer page of the same browser replaces its older ones. Requests that
someone waits for come first. Failures are reported when a page requests the picture.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import Error as DatabaseError

from labeling.display.frame_file import inside, is_current
from labeling.images.decoder_pool import decoders, pictures
from labeling.images.problems import ImageProblem
from labeling.images.thumbnails import TILE
from labeling.models import Frame

log = logging.getLogger(__name__)

# Rows looked up at a time: a newer page waits for these at most.
_AT_ONCE = 12


@dataclass(slots=True)
class _Wanted:
    dataset_id: int
    rows: list[int]


_waiting: OrderedDict[str, _Wanted] = OrderedDict()
_came = threading.Condition()
_thread: threading.Thread | None = None


def make_ahead(dataset_id: int, rows: Sequence[int], holder: str) -> None:
    """Queue the missing pictures of these rows, in order, replacing what this holder (a browser) queued before."""
    global _thread
    if not settings.MAKE_AHEAD:
        return
    with _came:
        _waiting.pop(holder, None)
        if rows:
            _waiting[holder] = _Wanted(dataset_id, list(rows))
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_work, name="ahead", daemon=True)
            _thread.start()
        _came.notify()


def _work() -> None:
    while True:
        with _came:
            _came.wait_for(lambda: bool(_waiting))
        _make_next()


def _make_next() -> None:
    """Render some pictures for the browser that asked last."""
    with _came:
        if not _waiting:  # removed in the meantime
            return
        holder = next(reversed(_waiting))
        wanted = _waiting[holder]
        rows, wanted.rows = wanted.rows[:_AT_ONCE], wanted.rows[_AT_ONCE:]
        if not wanted.rows:
            del _waiting[holder]
    try:
        _make_all(wanted.dataset_id, rows)
    except DatabaseError as error:  # temporarily unavailable; pages request the pictures again
        log.info("No pictures were rendered in advance: %s", error)


def _make_all(dataset_id: int, rows: Sequence[int]) -> None:
    frames = Frame.objects.filter(item__dataset=dataset_id, item__row__in=rows).select_related("dataset", "item")
    position = {row: at for at, row in enumerate(rows)}
    for frame in sorted(frames, key=lambda frame: (position[frame.item.row], frame.pk)):
        _make(frame)


def _make(frame: Frame) -> None:
    if frame.dataset.roles and frame.dataset.composed_as.is_color:
        return  # tiles show one picture of all bands, which is rendered when a page requests it
    cache, rendering = pictures(), frame.dataset.shown_as
    if cache.find(frame.picture_hash, TILE, rendering):
        return
    try:
        file = inside(frame)
        if is_current(frame, file):
            decoders().thumbnail(file, frame.picture_hash, TILE, cache, rendering, is_ahead=True)
    except (ImageProblem, OSError) as error:
        log.info("The picture of %s was not rendered in advance: %s", frame.path, error)
