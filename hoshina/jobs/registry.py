"""Register the kinds of jobs. Each ``<app>/tasks.py`` registers its own with :func:`background`."""

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
    """A kind of job: its function, its name for people and in the database, its queue, and its options.

    Attributes
    ----------
    queue : ``interactive`` (seconds) or ``heavy``.
    restartable : whether the job is run again if its worker was killed; it continues or starts anew.
    key : a template such as ``"retrain:{dataset_id}"``; at most one job with a given key is active.
    chunk : ``chunk(run, start, stop)``, which does a part of the work; see :func:`hoshina.jobs.chunks.work_through`.
    is_quiet : hide it from the strip, toasts and history, because a page waits for it and shows its result.
    is_silent : show no toast when it succeeds, because the page shows its result.
    unit : what it counts ("images"), if the rate per second is of interest.
    summary : returns the result of a job that succeeded in a few words for the Jobs page ("12 new, 3 changed").
    gives_way : in a worker, it returns to the queue while other jobs wait and no worker is free. Needs ``restartable``.
    """

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
    summary: Callable[[dict[str, Any]], str] | None = None
    gives_way: bool = False

    def key_for(self, dataset_id: int | None, params: Mapping[str, Any]) -> str:
        """Return the key of a job, at most 200 characters; its template names ``dataset_id`` or parameters."""
        template = self.key or f"{self.name}:{{dataset_id}}"
        key = template.format_map({**params, "dataset_id": "-" if dataset_id is None else dataset_id})
        if len(key) <= 200:
            return key
        return f"{key[:135]}:{hashlib.sha256(key.encode()).hexdigest()}"


_kinds: dict[str, Kind] = {}
_discovery = threading.Lock()
_discovered = False


def background(*, kind: str, queue: str, title: str, **options: Any) -> Callable[[Work], Work]:
    """Register ``function(run) -> result`` (a JSON object) as a kind of job with the ``options`` of :class:`Kind`."""
    if queue not in QUEUES:
        raise ValueError(f"Queue {queue!r} of job kind {kind!r} is not one of {', '.join(QUEUES)}.")

    def register(function: Work) -> Work:
        registered = _kinds.get(kind)
        if registered is not None and registered.function.__qualname__ != function.__qualname__:
            raise ValueError(f"Two functions are registered as job kind {kind!r}.")
        _kinds[kind] = Kind(kind, queue, title, function, **options)
        return function

    return register


def discover() -> None:
    """Import ``tasks`` of the other apps once, on first use, so that most commands need not.

    This app's own tasks are Celery's and are left out: Celery takes as long to import as Django.
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
    """Return the kind of that name; None for a job of an older version that no longer exists."""
    discover()
    return _kinds.get(name)


def get(name: str) -> Kind:
    """Return the kind of that name. Raises LookupError."""
    kind = find(name)
    if kind is None:
        raise LookupError(f"There is no job kind {name!r}. The kinds are {', '.join(sorted(_kinds))}.")
    return kind


def kinds_that_give_way() -> list[str]:
    """Return the kinds that wait for all others."""
    discover()
    return [kind.name for kind in _kinds.values() if kind.gives_way]


def quiet_kinds() -> list[str]:
    """Return the kinds that pages do not list."""
    discover()
    return [kind.name for kind in _kinds.values() if kind.is_quiet]


def described(name: str) -> Kind:
    """Return the kind of that name or, for a job of an older version, a substitute for display."""
    return find(name) or Kind(name, "", name.replace("_", " ").capitalize(), lambda run: {})
