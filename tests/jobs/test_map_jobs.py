"""A map in a real worker: stopped within its layout, it leaves nothing; asked for again, it is made."""

from dataclasses import asdict

import numpy as np

from hoshina.jobs import lifecycle
from hoshina.jobs.models import Job
from modeling.maps.options import MapOptions
from modeling.models import Projection
from tests.factories import MakeDataset
from tests.jobs.conftest import Store
from tests.modeling.factories import add_vectors
from tests.parts import wait_until

S = Job.State
N = 3000


def test_a_map_is_cancelled_within_its_layout_and_made_when_asked_again(
    files_store: Store, make_dataset: MakeDataset
) -> None:
    dataset = make_dataset(N)
    add_vectors(dataset, np.random.default_rng(0).standard_normal((N, 80)).astype(np.float32))
    files_store.worker("heavy")
    job = lifecycle.enqueue("project_map", dataset_id=dataset.pk, params=asdict(MapOptions(method="tsne")))

    def is_laying_out() -> bool:
        job.refresh_from_db()
        assert job.is_active, job.error
        return job.stage == "Laying out the map" and job.done > 0

    wait_until(is_laying_out, why="the layout")
    lifecycle.cancel(job)
    files_store.wait(job, S.CANCELLED)
    assert 0 < job.done < job.total
    assert not Projection.objects.exists()
    assert not (files_store.folder / "maps").exists()
    again = lifecycle.enqueue("project_map", dataset_id=dataset.pk, params=asdict(MapOptions(method="pca")))
    files_store.wait(again, S.SUCCEEDED)
    assert Projection.objects.get().n_points == N
