"""Store the data of record: datasets, classes, items, frames, and every decision ever made about them."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.urls import reverse

from labeling.decisions.provenance import ShownFields
from labeling.display.appearance import AppearanceFields
from labeling.images.rendering import Rendering
from labeling.images.revisions import picture_hash

# Longer paths are refused at ingest: PostgreSQL's index of (dataset, path) could not hold them.
MAX_PATH = 1000
MAX_NOTE = 300


class State(models.IntegerChoices):
    """The state of an item by its newest decision."""

    UNLABELLED = 0, "unlabelled"
    LABELLED = 1, "labelled"
    UNSURE = 2, "unsure"
    SKIPPED = 3, "skipped"

    @property
    def display_name(self) -> str:
        """Return the name that pages show. ``label`` is the stored name, in filters and exports."""
        return {State.UNLABELLED: "unlabeled", State.LABELLED: "labeled"}.get(self, str(self.label))


class DatasetQuerySet(models.QuerySet["Dataset"]):
    """Datasets by their state."""

    def present(self) -> DatasetQuerySet:
        """Return the datasets that are not being deleted."""
        return self.filter(deleted_at=None)

    def in_use(self) -> DatasetQuerySet:
        """Return the datasets that are neither archived nor being deleted."""
        return self.filter(archived_at=None, deleted_at=None)


class Dataset(AppearanceFields):
    """A labeling project: a root folder and its items, classes and fields.

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


class LabelClassQuerySet(models.QuerySet["LabelClass"]):
    """Classes of a dataset, in the person's order."""

    def active(self) -> LabelClassQuerySet:
        """Return the classes in use: neither merged nor deleted."""
        return self.filter(is_retired=False)


class LabelClass(models.Model):
    """A class. Renaming changes its name; merging and deleting move labels and keep the row for the history."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="classes")
    name = models.CharField(max_length=80)
    colour = models.CharField(
        "color", max_length=7, validators=[RegexValidator(r"^#[0-9a-fA-F]{6}$", "Enter a color as #rrggbb.")]
    )
    key = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(9)]
    )
    # The key of a class without a digit.
    letter = models.CharField(
        max_length=1, blank=True, default="", validators=[RegexValidator(r"^[a-z]$", "Enter a letter from a to z.")]
    )
    order = models.PositiveIntegerField(default=0)
    n_items = models.PositiveBigIntegerField(default=0, editable=False)
    is_retired = models.BooleanField(default=False, editable=False)
    merged_into = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )

    objects = LabelClassQuerySet.as_manager()

    class Meta:
        ordering = ["order", "id"]
        verbose_name_plural = "label classes"
        constraints = [
            models.UniqueConstraint(
                "dataset",
                Lower("name"),
                condition=Q(is_retired=False),
                name="class_name_once",
                violation_error_message="There is already a class of that name.",
            ),
            models.UniqueConstraint(
                fields=["dataset", "key"],
                condition=Q(is_retired=False, key__isnull=False),
                name="class_key_once",
                violation_error_message="That key already belongs to another class.",
            ),
            models.UniqueConstraint(
                fields=["dataset", "letter"],
                condition=Q(is_retired=False) & ~Q(letter=""),
                name="class_letter_once",
                violation_error_message="That letter already belongs to another class.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def key_name(self) -> str:
        """Return the digit or letter that assigns the class; "" without a key."""
        return self.letter if self.key is None else str(self.key)


class ItemQuerySet(models.QuerySet["Item"]):
    """Items of a dataset."""

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
    """What a person labels. ``row`` is its position in all arrays, assigned once at ingest and never reused."""

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
    """An image file of an item, with a role."""

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


class Field(models.Model):
    """A column of metadata, from a CSV file or from file headers; its values are arrays by row (labeling.fields)."""

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
    """A file that could not become an item, and the reason."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="problems", db_index=False)
    path = models.CharField(max_length=MAX_PATH)
    reason = models.TextField()
    seen_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dataset", "path"], name="problem_path")]
        ordering = ["path"]

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Action(models.Model):
    """One key press, whose annotations are undone together. The client's ``uuid`` identifies one that is sent twice."""

    class Kind(models.TextChoices):
        ASSIGN = "assign"
        UNSURE = "unsure"
        SKIP = "skip"
        CLEAR = "clear"
        UNDO = "undo"
        IMPORT = "import"
        MERGE = "merge"
        SPLIT = "split"

    # The actions that the key Z undoes. Imports, merges and splits are undone elsewhere.
    ON_UNDO_STACK = (Kind.ASSIGN, Kind.UNSURE, Kind.SKIP, Kind.CLEAR)

    uuid = models.UUIDField(unique=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="actions", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    # The browser that made it (hoshina.core.http.holder): only another browser's newer decision is a conflict.
    holder = models.CharField(max_length=64, blank=True)
    undoes = models.OneToOneField("self", null=True, on_delete=models.SET_NULL, related_name="undone_by")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["dataset", "holder", "-id"], name="action_undo_stack")]

    def __str__(self) -> str:
        return f"{self.kind} {self.uuid}"


class Annotation(ShownFields):
    """A decision about an item, append-only, with how the item came to be shown."""

    # Queues that draw uniformly at random from all unlabeled items, if no filter is set.
    AUDIT_QUEUES = ("audit", "auto/audit")

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="annotations", db_index=False)
    action = models.ForeignKey(Action, on_delete=models.CASCADE, related_name="annotations")
    state = models.PositiveSmallIntegerField(choices=State)
    label = models.ForeignKey(LabelClass, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    # The decision before this one, which an undo restores. Of an undo: the decision that it restored.
    previous = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    decided_at = models.DateTimeField()
    seconds = models.FloatField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["item", "-id"], name="annotation_history"),
            models.Index(fields=["item"], condition=Q(is_random_draw=True), name="annotation_random_draw"),
        ]

    def __str__(self) -> str:
        return f"{self.item_id}: {State(self.state).label}"


class Lease(models.Model):
    """An item shown to a person, and therefore to nobody else, in the window ``holder`` (hoshina.core.http.window).

    Two windows of one person show different items while there are enough.
    """

    item = models.OneToOneField(Item, on_delete=models.CASCADE, primary_key=True, related_name="lease")
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    holder = models.CharField(max_length=64)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["dataset", "expires_at"], name="lease_expiry")]

    def __str__(self) -> str:
        return f"{self.item_id} held by {self.holder}"
