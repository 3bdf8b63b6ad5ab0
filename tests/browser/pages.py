"""The pages of the site, and a dataset that has something to show on each."""

import numpy as np
from django.utils import timezone

from hoshina.jobs.models import Job
from labeling.models import Dataset, LabelClass, Problem
from modeling.models import EmbeddingSet, ModelVersion
from modeling.versions.model_files import save_probabilities
from tests.factories import MakeDataset, decide

PAGES = {
    "workbench": "/d/pictures/?queue=uncertain", "labelled": "/d/pictures/?queue=all&state=labelled",
    "nothing": "/d/pictures/?queue=all&state=skipped", "classes": "/d/pictures/classes/",
    "results": "/d/pictures/results/", "progress": "/d/pictures/progress/", "retraining": "/d/pictures/model/policy/",
    "model": "/d/pictures/model/", "version": "/d/pictures/model/1/",
    "compared": "/d/pictures/model/compare/?a=1&b=1", "accuracy": "/d/pictures/accuracy/",
    "encoders": "/d/pictures/encoders/", "images": "/d/pictures/images/", "export": "/d/pictures/export/",
    "fields": "/d/pictures/fields/", "grouping": "/d/pictures/grouping/?template={id}_{role}.png",
    "import": "/d/pictures/import/", "problems": "/d/pictures/problems/", "item": "/d/pictures/items/2/",
    "leakage": "/d/pictures/near-duplicates/", "jobs": "/jobs/", "datasets": "/datasets/",
    "manage": "/d/pictures/manage/", "nowhere": "/d/nowhere/",
    "guide": "/d/pictures/guide/", "map": "/d/pictures/map/", "split": "/d/pictures/classes/1/split/",
    "quick": "/d/pictures/quick/", "disk": "/disk/", "account": "/account/", "api": "/api/docs", "admin": "/admin/",
    "admin app": "/admin/labeling/", "admin items": "/admin/labeling/item/",
    "admin item": "/admin/labeling/item/1/change/", "admin class": "/admin/labeling/labelclass/1/change/",
    "admin new class": "/admin/labeling/labelclass/add/", "admin delete": "/admin/labeling/labelclass/1/delete/",
    "admin history": "/admin/labeling/labelclass/1/history/", "admin dataset": "/admin/labeling/dataset/1/change/",
    "admin decisions": "/admin/labeling/annotation/", "admin jobs": "/admin/jobs/job/?state__exact=failed",
    "admin person": "/admin/auth/user/1/change/", "admin people": "/admin/auth/user/",
    "admin new person": "/admin/auth/user/add/", "admin role": "/admin/auth/group/1/change/",
}  # fmt: skip


def add_model(dataset: Dataset) -> ModelVersion:
    """Add a model version with probabilities for every item, as a retrain leaves it."""
    classes = list(LabelClass.objects.filter(dataset=dataset))
    vectors = EmbeddingSet.objects.create(
        dataset=dataset, fingerprint="f", encoder="HOG + color", dim=8, is_active=True, reason="as asked"
    )
    model = ModelVersion.objects.create(
        dataset=dataset, number=1, embedding_set=vectors, class_ids=[one.pk for one in classes], n_labels=9,
        n_rows=dataset.n_items, n_decisions=4, is_active=True, is_calibrated=False,
        calibration_note="uncalibrated: too few labels",
        metrics={
            "accuracy": 0.75, "accuracy_interval": [0.6, 0.9], "ece_before": 0.1, "ece_after": 0.1,
            "log_loss_before": 0.5, "log_loss_after": 0.5, "confusion": [[3, 1, 0], [0, 4, 0], [1, 0, 1]],
            "reliability": [{"confidence": 0.5, "accuracy": 0.4, "count": 5}],
        },
    )  # fmt: skip
    rng = np.random.default_rng(3)
    with save_probabilities(model, dataset.n_items, len(classes)) as probabilities:
        probabilities[:] = rng.dirichlet(np.ones(len(classes)), dataset.n_items).astype(np.float32)
    return model


def furnish(dataset: Dataset, make_dataset: MakeDataset) -> Dataset:
    """Bring a dataset to the middle of its life, with something to show on every page."""
    for row in range(8):
        decide(dataset, "assign", [row], ("cat", "dog")[row % 2])
    decide(dataset, "unsure", [8])
    add_model(dataset)
    Problem.objects.create(dataset=dataset, path="broken <b>.png", reason="The file is empty.")
    for state in ("succeeded", "failed", "running", "queued"):
        Job.objects.create(
            kind="retrain", queue="interactive", dataset_id=dataset.pk, key=state, state=state, done=3, total=9,
            stage="Fitting", error="Only one class has labels." if state == "failed" else "",
            hint="Label another class." if state == "failed" else "", started_at=timezone.now(),
            heartbeat_at=timezone.now(), sent_at=timezone.now(),
        )  # fmt: skip
    make_dataset(0, name="empty")
    return dataset
