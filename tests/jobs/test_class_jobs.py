"""Outside examples and splits in a real worker: a file is embedded and ranked, a class gets parts and learns."""

import io
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from hoshina.jobs import lifecycle
from hoshina.jobs.models import Job
from labeling.models import Dataset, LabelClass
from sampling.classes.split import apply_split
from sampling.models import ClassSplit, Round
from sampling.queues.outside_examples import keep
from sampling.queues.pull import Filters, Order, ranked_rows
from sampling.queues.similar import SimilarParams
from tests.factories import MakeDataset, decide
from tests.jobs.conftest import Store
from tests.modeling.factories import add_item_with_file
from tests.sampling.classes.factories import animals

S = Job.State
N = 12


def test_a_file_is_embedded_by_the_worker_that_ranks(files_store: Store, tmp_path: Path) -> None:
    dataset = Dataset.objects.create(name="pictures", slug="pictures", root=str(tmp_path / "pictures"), n_items=N)
    for row in range(N):
        add_item_with_file(dataset, row)
    files_store.worker("interactive", "heavy")
    embed = lifecycle.enqueue("embed", dataset_id=dataset.pk, params={"backend": "hog"})
    files_store.wait(embed, S.SUCCEEDED)
    image = Image.open(dataset.data_dir / "image0007.png")
    buffer = io.BytesIO()
    image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(buffer, "PNG")
    buffer.seek(0)
    name = keep(dataset, buffer)
    order = Order("similar", asdict(SimilarParams(file=name)), Filters().as_params(), seed=1)
    params = {"order": asdict(order), "fingerprint": "x"}
    job = lifecycle.enqueue("rank", dataset_id=dataset.pk, params=params)
    files_store.wait(job, S.SUCCEEDED)
    assert ranked_rows(Round.objects.get(pk=job.result["round"]))[0] == 7
    shutil.rmtree(files_store.folder / "examples")
    again = lifecycle.enqueue("rank", dataset_id=dataset.pk, params=params)
    files_store.wait(again, S.FAILED)
    assert again.error == "This example is no longer in the store."


def test_a_worker_proposes_parts_and_learns(files_store: Store, make_dataset: MakeDataset) -> None:
    dataset, kind = animals(make_dataset)
    files_store.worker("interactive")
    cat = LabelClass.objects.get(dataset=dataset, name="cat")
    job = lifecycle.enqueue("propose_split", dataset_id=dataset.pk, params={"label": cat.pk, "n_parts": 0})
    files_store.wait(job, S.SUCCEEDED)
    split = ClassSplit.objects.get(pk=job.result["split"])
    assert split.n_parts == len(np.unique(kind)) - 1
    apply_split(split, ["cat", "lynx"], 0.2, user=None, holder="me")
    decide(dataset, "assign", [0, 4, 8], "lynx", queue="review")
    learn = lifecycle.enqueue("learn_split", dataset_id=dataset.pk, params={"split": split.pk})
    files_store.wait(learn, S.SUCCEEDED)
    split.refresh_from_db()
    assert (learn.result, split.n_learned) == ({"decisions": 3}, 3)
