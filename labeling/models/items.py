"""Store the items of a dataset, their current decisions, and their image files."""

from __future__ import annotations

from pathlib import Path

from django.db import models
from django.db.models import Q

from labeling.images.rendering import Rendering
from labeling.images.revisions import picture_hash
from labeling.models.classes import LabelClass
from labeling.models.datasets import MAX_PATH, Dataset

MAX_NOTE = 300


class State(models.IntegerChoices):
    """Name the state of an item by its newest decision."""

    UNLABELLED = 0, "unlabelled"
    LABELLED = 1, "labelled"
    UNSURE = 2, "unsure"
    SKIPPED = 3, "skipped"

    @property
    def display_name(self) -> str:
        """Return the name that pages show. ``label`` is the stored name, in filters and exports."""
        return {State.UNLABELLED: "unlabeled", State.LABELLED: "labeled"}.get(self, str(self.label))


class ItemQuerySet(models.QuerySet["Item"]):
    """Select items of a dataset."""

    def of(self, dataset: Dataset) -> ItemQuerySet:
        return self.filter(dataset=dataset)

    def available(self) -> ItemQuerySet:
        """Return the items whose file is present and readable."""
        return self.filter(is_available=True)

    def changed_since_decision(self) -> ItemQuerySet:
        """Return the items whose files changed after their current decision, by a partial index."""
        changed = self.filter(content_changed_after__isnull=False, decision_id__lte=models.F("content_changed_after"))
        return changed.exclude(state=0)


class Item(models.Model):
    """Store what a person labels. ``row`` is its position in all arrays, assigned once at ingest and never reused."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="items", db_index=False)
    row = models.PositiveBigIntegerField()
    path = models.CharField(max_length=MAX_PATH)
    # False if its file is missing or can no longer be read; its labels stay.
    is_available = models.BooleanField(default=True)

    # Derived from the newest annotation, kept here for speed.
    state = models.PositiveSmallIntegerField(choices=State, default=State.UNLABELLED)
    label = models.ForeignKey(LabelClass, null=True, on_delete=models.PROTECT, related_name="items", db_index=False)
    # The newest annotation, 0 if there is none. A page that knows only an older one is out of date.
    newest_annotation_id = models.BigIntegerField(default=0)
    # The annotation of the current decision: the newest one, or the older one that an undo restored.
    decision_id = models.BigIntegerField(null=True)
    # The newest annotation when its content last changed: decisions up to it are about other content. NULL: it never
    # changed.
    content_changed_after = models.BigIntegerField(null=True, editable=False)

    objects = ItemQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "row"], name="item_row"),
            models.UniqueConstraint(fields=["dataset", "path"], name="item_path"),
        ]
        indexes = [
            models.Index(fields=["dataset", "state", "row"], name="item_state"),
            models.Index(fields=["label", "row"], name="item_label"),
            models.Index(
                fields=["dataset", "row"], condition=Q(content_changed_after__isnull=False), name="item_content_changed"
            ),
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def is_content_changed(self) -> bool:
        """Return whether the content of its files changed after the current decision."""
        return self.state != State.UNLABELLED and is_older(self.decision_id, self.content_changed_after)


def is_older(decision_id: int | None, changed_after: int | None) -> bool:
    """Return whether a decision was made before the content changed, by the annotations' ids."""
    return decision_id is not None and changed_after is not None and decision_id <= changed_after


class Frame(models.Model):
    """Describe an image file of an item, with a role."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="frames", db_index=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="+", db_index=False)
    role = models.CharField(max_length=40, default="image")
    path = models.CharField(max_length=MAX_PATH)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    mtime_ns = models.BigIntegerField()
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    format = models.CharField(max_length=20)
    # The revision of the code that decoded it (labeling.images.revisions). NULL: an older version of HOSHINA, which may
    # have shown it differently, so the next ingest reads it again.
    revision = models.PositiveSmallIntegerField(null=True, default=0)
    # A defect of the file that does not prevent display; usually empty.
    note = models.CharField(max_length=MAX_NOTE, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "path"], name="frame_path"),
            models.UniqueConstraint(fields=["item", "role"], name="frame_role"),
        ]
        indexes = [
            # Moved files are recognized by their content.
            models.Index(fields=["dataset", "sha256"], name="frame_content"),
            models.Index(fields=["dataset", "path"], condition=~Q(note=""), name="frame_note"),
        ]

    def __str__(self) -> str:
        return self.path

    def version(self, rendering: Rendering) -> str:
        """Return the version of its picture for URLs: the start of its content's hash, and the rendering."""
        start = self.picture_hash[:12]
        return f"{start}-{rendering.key}" if rendering.key else start

    @property
    def picture_hash(self) -> str:
        """Return the key of its cached pictures and embeddings: 64 digits like its content's hash."""
        return picture_hash(self.sha256, self.revision or 0)

    @property
    def file(self) -> Path:
        return self.dataset.data_dir / self.path
