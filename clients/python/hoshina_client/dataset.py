"""Read a dataset, label its items, and exchange arrays and files with it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import ArrayLike

from hoshina_client import arrays
from hoshina_client.errors import Refused
from hoshina_client.items import Item, Items, item_of
from hoshina_client.jobs import Job, cancel, job_of, jobs_of, wait_for
from hoshina_client.labels import (
    AnyItem,
    Batch,
    Saved,
    decision_actions,
    id_of,
    label_actions,
    listed,
    save,
    undo_action,
)
from hoshina_client.transport import LONGEST_WAIT, Transport

# What the server takes: items of a page of a queue, and of a page of a list.
QUEUE_PAGE, LIST_PAGE = 240, 1000
# Names of states that the API spells differently.
_STATES = {"unlabeled": "unlabelled", "labeled": "labelled"}


@dataclass(frozen=True)
class Class:
    """Represent a class, with the key that labels with it and its number of labels."""

    id: int
    name: str
    color: str
    key: str
    n_items: int


class Dataset:
    """Represent a dataset of a server. Made by ``Server.dataset``."""

    def __init__(self, transport: Transport, about: dict[str, Any]) -> None:
        self._transport = transport
        self.slug = str(about["slug"])
        self.name = str(about["name"])

    def __repr__(self) -> str:
        return f"<Dataset {self.slug}>"

    def info(self) -> dict[str, Any]:
        """Return counts, description, fields, the active model and the embeddings in use."""
        return dict(self._get(""))

    # -- Items ---------------------------------------------------------------------------------
    def queue(
        self, name: str = "auto", n: int = 50, *, seed: int | None = None, params: dict[str, Any] | None = None,
        filters: dict[str, Any] | None = None, window: str = "", patience: float = LONGEST_WAIT,
    ) -> Items:  # fmt: skip
        """Return the next items of a queue, and reserve them for 15 minutes, so that nobody else labels them.

        Another call releases the items of the one before. Items that are labeled keep how they were selected.

        Parameters
        ----------
        name : of the queue: auto, uncertain, diverse, random, audit, … (:meth:`queues` lists all)
        n : how many items
        seed : the same seed and labels give the same ranking
        params : parameters of the queue, such as ``{"low": 0.4, "high": 0.6}`` of band
        filters : ``state``, ``class_name``, ``predicted_name``, ``path``, ``filter`` (a list), ``tag``, ``flagged``
        window : a name for one of several places that label at once: each gets other items
        patience : seconds to wait while a large dataset is ranked
        """
        body: dict[str, Any] = {"params": params or {}, "filters": filters or {}, "window": window}
        body |= {} if seed is None else {"seed": seed}
        found, round_, note = list[Item](), None, ""
        while len(found) < n:
            answer = self._post(f"queues/{_part(name)}/pull", body | {"n": min(n - len(found), QUEUE_PAGE)}, patience)
            found += [item_of(self._transport, served) for served in answer["items"]]
            round_, note = answer["round"], note or answer["note"]
            if answer["next_offset"] is None:
                break
            body = {"round": round_, "offset": answer["next_offset"], "window": window}
        return Items(found, round=round_, note=note)

    def queues(self) -> list[dict[str, Any]]:
        """Return all queues with their parameters, and what those lack that cannot be pulled yet."""
        return list(self._get("queues"))

    def items(
        self, *, state: str | None = None, label: str | None = None, predicted: str | None = None,
        min_probability: float | None = None, fields: Iterable[str] = (),
        include: Iterable[str] = ("prediction", "fields", "tags"), page: int = 500,
    ) -> Iterator[Item]:  # fmt: skip
        """Iterate over items in the order of the folder, requested in pages; pages stay right while others label.

        Parameters
        ----------
        state : unlabeled, labeled, unsure or skipped
        label, predicted : the name of a class
        min_probability : the least probability of the predicted class
        fields : conditions on metadata, such as ``["mass=2..5"]``; all have to match
        include : what to add to each item, of prediction, fields and tags; without them pages take less time
        page : how many items to request at once, 1,000 at most
        """
        query: dict[str, Any] = {
            "state": _STATES.get(state or "", state), "class_name": label, "predicted_name": predicted,
            "min_probability": min_probability, "filter": list(fields), "include": list(include), "limit": page,
        }  # fmt: skip
        cursor: str | None = None
        while True:
            answer = self._get("items", cursor=cursor, **query)
            for described in answer["items"]:
                yield item_of(self._transport, described)
            cursor = answer["next_cursor"]
            if cursor is None:
                return

    def labels(self) -> Items:
        """Return all labeled items, without predictions and metadata. ``.to_pandas()`` makes a table of them."""
        return Items(self.items(state="labeled", include=(), page=LIST_PAGE))

    def item(self, key: int | str) -> Item:
        """Return the item with this id or path. Raises Refused if there is none."""
        if isinstance(key, str):
            found = self._get("items", path=[key], include=["prediction", "fields", "tags"])["items"]
            if not found:
                raise Refused(f"There is no item with the path {key!r}.", "Paths begin below the folder.", status=404)
            return item_of(self._transport, found[0])
        return item_of(self._transport, self._get(f"items/{int(key)}"))

    def history(self, item: AnyItem) -> list[dict[str, Any]]:
        """Return the decisions about an item, newest first, each with how the item had been selected."""
        return list(self._get(f"items/{id_of(item)}/history", limit=200)["decisions"])

    def decisions(self, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """Iterate over every decision in the order in which they were saved, undone ones too, requested in pages.

        Each has its item, class, annotator, and how the item had been selected. ``after``: the ``id`` of a decision,
        to continue after it.
        """
        following: int | None = after
        while following is not None:
            answer = self._get("decisions", after=following, limit=LIST_PAGE)
            yield from answer["decisions"]
            following = answer["next_after"]

    def similar(self, item: AnyItem, k: int = 20, *, unlabeled: bool = False, at_least: float = -1.0) -> Items:
        """Return the items most similar to one, by the cosine of their embeddings (``score``), most similar first."""
        options = {"k": k, "at_least": at_least, "unlabelled": unlabeled}
        answer = self._transport.get_patiently(self._path(f"items/{id_of(item)}/similar"), **options)
        found = [item_of(self._transport, served) for served in answer["items"]]
        return Items(found, round=answer["round"], note=answer["note"])

    # -- Classes and decisions -----------------------------------------------------------------
    @property
    def classes(self) -> list[Class]:
        """Return the classes in the order of the page."""
        return [Class(**described) for described in self._get("classes")]

    def add_class(self, name: str, color: str | None = None) -> Class:
        """Add a class, with the next free key, and a color of its own unless one is given (``#rrggbb``)."""
        return Class(**self._transport.post(self._path("classes"), {"name": name, "color": color}, is_repeatable=False))

    def edit_class(
        self, label: Class | str, *, name: str | None = None, color: str | None = None, key: str | None = None,
        swap: bool = False,
    ) -> Class:  # fmt: skip
        """Change the name, color or key of a class, and return it as it is now. Its labels stay.

        Parameters
        ----------
        label : the class, or its name
        key : 1 to 9, a to z, or "" for none; another class that has it keeps it, and Refused is raised, …
        swap : … or gets the key of this class in exchange
        """
        class_id = label.id if isinstance(label, Class) else self._class_id(label)
        body = {"name": name, "color": color, "key": key, "swap": swap}
        return Class(**self._transport.patch(self._path(f"classes/{class_id}"), body))

    def label(
        self, items: AnyItem | Iterable[AnyItem], labels: str | Iterable[str], *, overwrite: bool = False,
        suggestion_shown: bool | None = None,
    ) -> Saved:  # fmt: skip
        """Label one or several items with a class, or each item with the class at the same place of ``labels``.

        What was saved is on disk. The items given are changed to their new state.

        Parameters
        ----------
        items : items, or their ids; with ids, every decision of someone else is a conflict
        labels : the name of a class, or one name for each item
        overwrite : replace decisions that others made in the meantime
        suggestion_shown : whether the person who decided saw the prediction; None if that is not known

        Raises
        ------
        Conflict : if someone else decided about an item since it was requested; all other labels were saved
        """
        chosen = listed(items)
        names = [labels] * len(chosen) if isinstance(labels, str) else list(labels)
        options = {"overwrite": overwrite, "suggestion_shown": suggestion_shown}
        return self._save(label_actions(chosen, names, **options), chosen)

    def unsure(self, items: AnyItem | Iterable[AnyItem], *, overwrite: bool = False) -> Saved:
        """Mark items as unsure. Raises Conflict as :meth:`label` does."""
        return self._decide("unsure", items, overwrite)

    def skip(self, items: AnyItem | Iterable[AnyItem], *, overwrite: bool = False) -> Saved:
        """Skip items: they belong to no class and are not shown again. Raises Conflict as :meth:`label` does."""
        return self._decide("skip", items, overwrite)

    def clear(self, items: AnyItem | Iterable[AnyItem], *, overwrite: bool = False) -> Saved:
        """Clear the decisions about items. Raises Conflict as :meth:`label` does."""
        return self._decide("clear", items, overwrite)

    def undo(self, n_actions: int = 1) -> Saved:
        """Undo the last actions of this token. One call of :meth:`label` makes ``Saved.n_actions`` actions."""
        return self._save([undo_action() for _ in range(n_actions)], [])

    def _decide(self, kind: str, items: AnyItem | Iterable[AnyItem], overwrite: bool) -> Saved:
        chosen = listed(items)
        return self._save(decision_actions(kind, chosen, overwrite=overwrite), chosen)

    def _save(self, actions: Batch, items: list[AnyItem]) -> Saved:
        return save(self._transport, _part(self.slug), actions, items, self._class_names)

    def _class_id(self, name: str) -> int:
        found = {label.name: label.id for label in self.classes}
        if name not in found:
            raise Refused(f"There is no class {name!r}.", f"The classes are: {', '.join(found)}.", status=404)
        return found[name]

    def _class_names(self) -> dict[int, str]:
        return {found.id: found.name for found in self.classes}

    # -- Models and jobs -----------------------------------------------------------------------
    def accuracy(self) -> dict[str, Any]:
        """Return the audited accuracy of the newest model with its interval, as ``hoshina accuracy --json``."""
        return dict(self._get("accuracy"))

    def models(self) -> list[dict[str, Any]]:
        """Return the model versions, newest first, with their accuracies."""
        return list(self._get("models"))

    def retrain(self) -> Job:
        """Start a retrain, or return the one that runs. Missing embeddings are computed first, by the job returned."""
        return self.start("retrain")

    def start(self, kind: str, **options: Any) -> Job:
        """Start a job: ``scan``, ``embed``, ``retrain``, ``map`` or ``quick_train``, the last two with options."""
        return job_of(self._post("jobs", {"kind": kind, "options": options}))

    def jobs(self, *, state: str | None = None, kind: str | None = None) -> list[Job]:
        """Return the 50 newest jobs of the dataset, newest first."""
        return jobs_of(self._transport, dataset=self.slug, state=state, kind=kind)

    def wait(self, job: Job, *, progress: bool = True, timeout: float | None = None) -> Job:
        """Wait until a job ends, and return it. Raises JobFailed if it did not succeed."""
        return wait_for(self._transport, job, progress=progress, timeout=timeout)

    def cancel(self, job: Job) -> Job:
        """Cancel a queued job, or ask a running one to stop, and return it. A job that ended stays as it is."""
        return cancel(self._transport, job)

    def push_embeddings(
        self, ids: Iterable[Item | int | str], X: ArrayLike, *, name: str, replace: bool = False, use: bool = True
    ) -> Job:
        """Send embeddings, and return the job that imports them. More than 400 MiB are sent in several parts.

        Parameters
        ----------
        ids : what names the image of each row: items, item ids, paths, file names, or SHA-256
        X : array (n, d); float16 stays, other types become float32
        name : of the embeddings, such as ``dinov2-base``
        replace : replace earlier embeddings of this name; otherwise these are added to them
        use : use them for queues, models and maps from now on
        """
        job: Job | None = None
        for part in arrays.embeddings_in_parts(ids, X):
            if job is not None:
                self.wait(job, progress=False)
                replace = False
            job = self._push("embeddings", part, {"name": name, "replace": replace, "use": use})
        assert job is not None, "there is at least one part"
        return job

    def push_predictions(
        self, ids: Iterable[Item | int | str], P: ArrayLike, classes: Iterable[str], *, name: str,
        create: bool = False, use: bool = True,
    ) -> Job:  # fmt: skip
        """Send the predictions of a model as a model version, and return the job that imports and calibrates them.

        Parameters
        ----------
        ids : what names the image of each row: items, item ids, paths, file names, or SHA-256
        P : array (n, c) of probabilities
        classes : the c names of the classes
        name : of the model
        create : create classes that the dataset does not have
        use : activate the version
        """
        return self._push(
            "predictions", arrays.predictions(ids, P, classes), {"name": name, "create": create, "use": use}
        )

    def _push(self, what: str, content: dict[str, Any], options: dict[str, Any]) -> Job:
        with tempfile.TemporaryDirectory(prefix="hoshina-") as folder:
            file = Path(folder) / f"{what}.npz"
            np.savez(file, **content)
            return job_of(self._transport.upload(self._path(what), {"file": file}, options))

    # -- Files ---------------------------------------------------------------------------------
    def export(self, path: str | os.PathLike[str], layout: str = "csv", **options: Any) -> Path:
        """Write an export as a ZIP archive, and return its path. A file that exists is replaced when it is complete.

        Parameters
        ----------
        path : of the archive, or an existing folder to write it to
        layout : csv, imagefolder, huggingface, coco, webdataset, tfrecord, …
        options : those of the API, such as ``images=True``, ``val=20``, ``test=20``, ``seed=1``, ``group_by="night"``
        """
        file = Path(path)
        if file.is_dir():
            file = file / f"{self.slug}.zip"
        partial = file.with_name(f"{file.name}.part")
        params = {name: value for name, value in ({"layout": layout} | options).items() if value is not None}
        try:
            with self._transport.stream(self._path("export"), params) as pieces, partial.open("wb") as stream:
                for piece in pieces:
                    stream.write(piece)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
        return file

    def import_labels(
        self, path: str | os.PathLike[str], *, create_classes: bool = False, preview: bool = False, **options: Any
    ) -> dict[str, Any]:
        """Import the labels of a file, and return what changed; with ``preview`` save nothing.

        All formats of ``hoshina import_labels`` are recognized, and an export with ``extra="annotations"``, whose
        record of decisions is restored into a dataset without decisions. ``options`` are those of the API:
        ``key_column``, ``label_column``, ``encoding`` and ``same_numbers``.
        """
        fields = {"create_classes": create_classes, "preview": preview} | options
        return dict(self._transport.upload(self._path("labels"), {"file": Path(path)}, fields))

    # -- Requests ------------------------------------------------------------------------------
    def _path(self, path: str) -> str:
        return f"datasets/{_part(self.slug)}/{path}".rstrip("/")

    def _get(self, path: str, /, **params: Any) -> Any:
        return self._transport.get(self._path(path), **params)

    def _post(self, path: str, body: Any, patience: float = LONGEST_WAIT) -> Any:
        return self._transport.post(self._path(path), body, patience=patience)


def _part(text: str) -> str:
    return quote(text, safe="")
