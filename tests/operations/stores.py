"""A store with something of everything, what is in a store, and another store."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from django.apps import apps
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from hoshina.jobs.lifecycle import enqueue
from hoshina.jobs.models import Job
from hoshina.jobs.presence import say_alive, say_gone
from labeling.fields.columns import Draft, save_column, unknown_values
from labeling.models import Action, Dataset, Field, Item, Lease, Problem
from modeling.models import EncoderChoice
from sampling.models import Check, ClassSplit, Round, ServedPage
from tests.databases import database_file
from tests.factories import MakeDataset, decide, new_folder
from tests.modeling.factories import add_vectors
from tests.sampling.factories import add_model, two_class
from tests.sampling.maps.factories import add_map

N = 30


def fill(make_dataset: MakeDataset, store: Path, name: str = "pictures") -> Dataset:
    """Make a dataset with decisions, an undo, a field, embeddings, a model, a map, a round with a check, and jobs."""
    dataset = make_dataset(N, name=name)
    cat = dataset.classes.get(name="cat")
    user, _ = User.objects.get_or_create(username="ann")
    decide(dataset, Action.Kind.ASSIGN, range(10), "cat", user=user)
    decide(dataset, Action.Kind.ASSIGN, range(5, 20), "dog", user=user)
    decide(dataset, Action.Kind.UNDO, user=user)
    field = Field.objects.create(dataset=dataset, name="redshift", kind=Field.Kind.NUMBER, source="csv")
    values = unknown_values(Field.Kind.NUMBER, N)
    values[3] = 0.5
    save_column(field, Draft(Field.Kind.NUMBER, values, []))
    Dataset.objects.filter(pk=dataset.pk).update(together_by=field)
    add_vectors(dataset, np.ones((N, 3), np.float32))
    add_model(dataset, two_class([0.9] * N))
    add_map(dataset, np.zeros((N, 2)))
    shown = Round.objects.create(dataset=dataset, queue="sweep", seed=1)
    ServedPage.objects.create(
        round=shown, user=user, first_rank=0, last_rank=0, ranks=b"", item_ids=b"", suggested_ids=b"",
        suggested_probabilities=b"",
    )  # fmt: skip
    item = Item.objects.get(dataset=dataset, row=25)
    Check.objects.create(
        dataset=dataset, item=item, round=shown, label=cat, probability=0.9, labels=3, promised=0.1,
        accept=Action.objects.filter(dataset=dataset).order_by("pk").first(),
    )  # fmt: skip
    split = ClassSplit.objects.create(dataset=dataset, label=cat, n_parts=2)
    split.actions.set(Action.objects.filter(dataset=dataset))
    Lease.objects.create(item=item, dataset=dataset, user=user, holder="x", expires_at=timezone.now())
    Problem.objects.create(dataset=dataset, path="broken.png", reason="empty")
    EncoderChoice.objects.create(dataset=dataset, backend="hog")
    job = enqueue("embed", dataset_id=dataset.pk)
    Job.objects.filter(pk=job.pk).update(state=Job.State.RUNNING, worker="elsewhere:1:1", heartbeat_at=timezone.now())
    for path in (
        "secret_key",
        "sign_in_token",
        "thumbs/ab/abc-256.png",
        "encoders/own/birds.onnx",
        "encoders/net.pb",
        f"examples/{dataset.pk}/{'a' * 64}",
    ):
        (store / path).parent.mkdir(parents=True, exist_ok=True)
        (store / path).write_bytes(f"content of {path}".encode())
    session = SessionStore()
    session["secret"] = "yes"
    session.save()
    say_alive("heavy")
    say_gone()
    return dataset


def rows(*labels: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of these models, or of all of ours."""
    ours = ("labeling", "modeling", "sampling", "jobs")
    models = [apps.get_model(label) for label in labels] or [m for m in apps.get_models() if m._meta.app_label in ours]
    return {m._meta.label: list(m._default_manager.order_by("pk").values()) for m in models}


def files(store: Path, *folders: str) -> dict[str, str]:
    """Return the hashes of the files in folders of a store."""
    found = [file for folder in folders for file in sorted((store / folder).rglob("*")) if file.is_file()]
    return {file.relative_to(store).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


@contextmanager
def another_store(path: Path, settings: Any) -> Iterator[Path]:
    """Let this process use an empty store that does not exist yet."""
    before = settings.STORE_DIR, settings.BROKER_DIR
    settings.STORE_DIR, settings.BROKER_DIR = new_folder(path), path / "broker"
    with database_file(path / "app.db"):
        yield path
    settings.STORE_DIR, settings.BROKER_DIR = before
