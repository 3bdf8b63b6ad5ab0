"""Which kinds of job there are. Each ``<app>/tasks.py`` registers its own with :func:`background`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.utils.module_loading import module_has_submodule

if TYPE_CHECKING:
    from hoshina.jobs.runner import Run

QUEUES = ("interactive", "heavy")

Work = Callable[["Run"], dict[str, Any]]
ChunkWork = Callable[["Run", int, int], None]


@dataclass(frozen=True)
class Kind:
    """One kind of job: what it does, where it runs, and what makes two of them the same."""

    name: str
    queue: str
    title: str
    function: Work
    restartable: bool = False
    key: str = ""
    chunk: ChunkWork | None = None
    is_quiet: bool = False
    is_silent: bool = False
    unit: str = ""

    def key_for(self, dataset_id: int | None, params: Mapping[str, Any]) -> str:
        """The key of one job, 200 characters at most; its template names ``dataset_id`` or parameters."""
        template = self.key or f"{self.name}:{{dataset_id}}"
        key = template.format_map({**params, "dataset_id": "-" if dataset_id is None else dataset_id})
        if len(key) <= 200:
            return key
        return f"{key[:135]}:{hashlib.sha256(key.encode()).hexdigest()}"


_kinds: dict[str, Kind] = {}
_discovery = threading.Lock()
_discovered = False


def background(
    *,
    kind: str,
    queue: str,
    title: str,
    restartable: bool = False,
    key: str = "",
    chunk: ChunkWork | None = None,
    is_quiet: bool = False,
    is_silent: bool = False,
    unit: str = "",
) -> Callable[[Work], Work]:
    """Registers ``function(run) -> result`` (a JSON object) as a kind of job.

    Parameters
    ----------
    kind : its name in the database and the code.
    queue : ``interactive`` (seconds) or ``heavy``.
    title : its name for people.
    restartable : whether a second run picks up where a killed one stopped.
    key : a template such as ``"retrain:{dataset_id}"``; of jobs with the same key one at most is active.
    chunk : ``chunk(run, start, stop)``, one share of the work; see :func:`hoshina.jobs.chunks.work_through`.
    is_quiet : a page waits for it and shows its result itself: no strip, no toast, no line in the history.
    is_silent : no toast when it succeeds, because the page shows what came of it in its place.
    unit : what it counts ("images"), where people want to know how many a second.
    """
    if queue not in QUEUES:
        raise ValueError(f"Queue {queue!r} of job kind {kind!r} is none of {', '.join(QUEUES)}.")

    def register(function: Work) -> Work:
        known = _kinds.get(kind)
        if known is not None and known.function.__qualname__ != function.__qualname__:
            raise ValueError(f"Two functions are registered as job kind {kind!r}.")
        _kinds[kind] = Kind(kind, queue, title, function, restartable, key, chunk, is_quiet, is_silent, unit)
        return function

    return register


def discover() -> None:
    """Imports ``tasks`` of the other apps, once: on first use, so that most commands needn't.

    Not this app's own, which are Celery's: loading it takes as long as loading Django.
    """
    global _discovered
    if _discovered:
        return
    with _discovery:
        for config in apps.get_app_configs():
            if config.name != "hoshina.jobs" and module_has_submodule(config.module, "tasks"):
                import_module(f"{config.name}.tasks")
        _discovered = True


def find(name: str) -> Kind | None:
    """The kind of that name; ``None`` for a job of an older version that this one no longer knows."""
    discover()
    return _kinds.get(name)


def get(name: str) -> Kind:
    """Like :func:`find`; raises ``LookupError``."""
    found = find(name)
    if found is None:
        raise LookupError(f"There is no job kind {name!r}; known are {', '.join(sorted(_kinds))}.")
    return found


def quiet_kinds() -> list[str]:
    """The kinds that pages don't list."""
    discover()
    return [kind.name for kind in _kinds.values() if kind.is_quiet]


def is_silent(name: str) -> bool:
    """Return whether the success of such a job is no news."""
    kind = find(name)
    return kind is not None and kind.is_silent


def unit(name: str) -> str:
    """What the kind counts; empty where that says nothing."""
    found = find(name)
    return found.unit if found else ""


def title(name: str) -> str:
    """The kind's name for people."""
    found = find(name)
    return found.title if found else name.replace("_", " ").capitalize()
