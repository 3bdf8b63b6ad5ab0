"""Datasets with a class that is two, for tests of splitting and merging."""

import numpy as np
from django.test import Client

from hoshina.jobs.lifecycle import run_now
from hoshina.jobs.models import Job
from labeling.models import Dataset, LabelClass
from sampling.models import ClassSplit
from tests.factories import MakeDataset
from tests.modeling.factories import add_vectors, import_labels

N = 60
SHARES = ["0.1", "0.2", "0.4", "0.7"]


def animals(make_dataset: MakeDataset, n: int = N, spread: float = 1.0) -> tuple[Dataset, np.ndarray]:
    """Make a dataset whose even rows are labeled cat, of two kinds (row // 2 % 2), and the odd ones dog.

    Return it and the kind of each row.
    """
    dataset = make_dataset(n)
    rng = np.random.default_rng(4)
    kind = np.where(np.arange(n) % 2 == 0, np.arange(n) // 2 % 2, 2)
    centers = 7 * np.eye(3, 6)
    add_vectors(dataset, (centers[kind] + spread * rng.normal(size=(n, 6))).astype(np.float32))
    import_labels(dataset, list(range(n)), np.arange(n) % 2)
    dataset.refresh_from_db()
    return dataset, kind


def label_named(dataset: Dataset, name: str) -> LabelClass:
    return LabelClass.objects.get(dataset=dataset, name=name, is_retired=False)


def proposed(dataset: Dataset, name: str = "cat", n_parts: int = 0) -> ClassSplit:
    """Return a proposal as a worker makes it."""
    params = {"label": label_named(dataset, name).pk, "n_parts": n_parts}
    job = run_now("propose_split", dataset_id=dataset.pk, params=params)
    return ClassSplit.objects.get(pk=job.result["split"])


def split_url(dataset: Dataset, name: str = "cat", step: str = "") -> str:
    pk = label_named(dataset, name).pk
    return f"/d/{dataset.slug}/classes/{pk}/split/{step and step + '/'}"


def run_queued() -> None:
    """Run the queued jobs, as a worker does."""
    for job in Job.objects.filter(state=Job.State.QUEUED):
        run_now(job.kind, dataset_id=job.dataset_id, params=job.params)


def names(*classes: str) -> dict[str, str]:
    return {f"part{number}": name for number, name in enumerate(classes)}


def post(dataset: Dataset, step: str, status: int = 200, **data: str) -> str:
    answer = Client().post(split_url(dataset, step=step), data)
    assert answer.status_code == status, answer.content.decode()
    return answer.content.decode()
