"""Store datasets, their metadata fields, and the files of theirs that could not be read."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower
from django.urls import reverse

from labeling.display.appearance import AppearanceFields

# Longer paths are refused at ingest: PostgreSQL's index of (dataset, path) could not hold them.
MAX_PATH = 1000


class DatasetQuerySet(models.QuerySet["Dataset"]):
    """Select datasets by their state."""

    def present(self) -> DatasetQuerySet:
        """Return the datasets that are not being deleted."""
        return self.filter(deleted_at=None)

    def in_use(self) -> DatasetQuerySet:
        """Return the datasets that are neither archived nor being deleted."""
        return self.filter(archived_at=None, deleted_at=None)


class Dataset(AppearanceFields):
    """Store a labeling project: a root folder and its items, classes and fields.

    The counters are updated in the transaction that changes an item's state, so that no page counts items.
    """

    name = models.CharField(max_length=120, unique=True)
    slug = models.SlugField(max_length=60, unique=True)
    # An absolute path, or one below the store, so that uploaded images are found where the store is moved or restored.
    root = models.CharField(max_length=4096)
    created_at = models.DateTimeField(auto_now_add=True)
    # What others need to know about the dataset, for its exports.
    description = models.TextField(blank=True, default="", max_length=10_000)
    license = models.CharField(blank=True, default="", max_length=200)
    citation = models.TextField(blank=True, default="", max_length=5_000)
    # The goal on the page Progress: a number of labels, or a percentage of the images with a decision; at most one.
    goal_labels = models.PositiveBigIntegerField(null=True, editable=False)
    goal_percent = models.PositiveSmallIntegerField(null=True, editable=False)
    # Template that groups several files into an item (labeling.ingest.grouping_template); "": each file is an item.
    grouping = models.CharField(max_length=200, blank=True, default="", editable=False)
    # Images with equal values in this field are in the same set of a split (labeling.fields.split_groups).
    together_by = models.ForeignKey("Field", models.SET_NULL, null=True, related_name="keeps_together", editable=False)
    # Scans for new files: whether, when the next one, the state at the last one (labeling.ingest.folder_watch).
    is_watched = models.BooleanField(default=False, editable=False)
    next_look_at = models.DateTimeField(null=True, editable=False)
    last_look = models.CharField(max_length=40, blank=True, default="", editable=False)
    # Archived datasets are listed apart and get no automatic scans, embeddings or trainings.
    archived_at = models.DateTimeField(null=True, editable=False)
    # A job deletes it (hoshina.datasets.deletion); no page or command shows it any more.
    deleted_at = models.DateTimeField(null=True, editable=False)

    n_items = models.PositiveBigIntegerField(default=0, editable=False)
    n_missing = models.PositiveBigIntegerField(default=0, editable=False)
    n_labelled = models.PositiveBigIntegerField("labeled items", default=0, editable=False)
    n_unsure = models.PositiveBigIntegerField(default=0, editable=False)
    n_skipped = models.PositiveBigIntegerField(default=0, editable=False)
    # Grows with every decision that changes a label, so that "42 labels newer than the model" is a subtraction.
    n_decisions = models.PositiveBigIntegerField(default=0, editable=False)

    objects = DatasetQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        # The roles of hoshina.core.roles.
        permissions = (
            ("label_images", "Can look at images and label them"),
            ("manage_datasets", "Can manage classes, fields, encoders, models, jobs, imports and exports"),
            ("administer", "Can add folders and model files, and manage people"),
        )

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("workbench", args=[self.slug])

    @property
    def data_dir(self) -> Path:
        """Return the root folder, or ``AL_DATA_DIR`` if the folder was moved (or mounted) elsewhere."""
        return settings.DATA_DIR or settings.STORE_DIR / self.root

    @property
    def n_decided(self) -> int:
        return self.n_labelled + self.n_unsure + self.n_skipped

    @property
    def n_left(self) -> int:
        return max(0, self.n_items - self.n_decided)


class Field(models.Model):
    """Describe a column of metadata, from a CSV file or file headers; its values are arrays (labeling.fields)."""

    class Kind(models.TextChoices):
        NUMBER = "number", "number"
        TEXT = "text", "text"
        TIME = "time", "time"

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="fields")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=8, choices=Kind)
    # The source of its values: "csv", or the keyword of a header card, which is also read from new files.
    source = models.CharField(max_length=80)
    order = models.PositiveIntegerField(default=0)
    # The generation of its files, which grows with every change of its values.
    generation = models.PositiveIntegerField(default=0)
    # Items that have a value.
    n_known = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["order", "id"]
        constraints = [models.UniqueConstraint("dataset", Lower("name"), name="field_name_once")]

    def __str__(self) -> str:
        return self.name


class Problem(models.Model):
    """Record a file that could not become an item, and the reason."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="problems", db_index=False)
    path = models.CharField(max_length=MAX_PATH)
    reason = models.TextField()
    seen_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "path"], name="problem_path")]
        ordering = ["path"]

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"
