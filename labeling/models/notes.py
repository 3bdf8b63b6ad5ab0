"""Store what people remark about items besides their labels: tags, of which the flag is one, and notes."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower

from labeling.models.datasets import Dataset
from labeling.models.items import Item

MAX_TAG, MAX_NOTE_TEXT = 40, 4000
# The tag that a key sets and tiles show as a flag.
FLAG = "flagged"


class Tag(models.Model):
    """Store a short word that people attach to items of a dataset."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="tags", db_index=False)
    # The separators of lists of tags in tables are excluded.
    name = models.CharField(
        max_length=MAX_TAG, validators=[RegexValidator(r"^[^,;|\x00-\x1f\x7f]+$", "Use no comma, semicolon or bar.")]
    )

    class Meta:
        constraints = [models.UniqueConstraint("dataset", Lower("name"), name="tag_name_once")]

    def __str__(self) -> str:
        return self.name


class ItemTag(models.Model):
    """Attach a tag to an item, and record who attached it. ``row`` is the item's, so that a filter reads one index."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="item_tags", db_index=False)
    tag = models.ForeignKey(Tag, on_delete=models.CASCADE, related_name="item_tags", db_index=False)
    row = models.PositiveBigIntegerField()
    tagged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    tagged_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "tag"], name="item_tag_once")]
        indexes = [models.Index(fields=["tag", "row"], name="item_tag_rows")]

    def __str__(self) -> str:
        return f"{self.item_id}: {self.tag_id}"


class Note(models.Model):
    """Store a remark about an item. It is never changed, only deleted, so that nobody overwrites another's text."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="+", db_index=False)
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="notes")
    row = models.PositiveBigIntegerField()
    text = models.TextField(max_length=MAX_NOTE_TEXT)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["dataset", "row"], name="note_rows")]

    def __str__(self) -> str:
        return f"{self.item_id}: {self.text[:40]}"
