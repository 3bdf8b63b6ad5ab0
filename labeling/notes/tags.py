"""Attach tags to items and remove them. The flag is the tag ``flagged``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet

from hoshina.core.errors import Refusal
from labeling.models import FLAG, MAX_TAG, Dataset, Item, ItemTag, Note, Tag

MOST_ITEMS, MOST_TAGS = 2_000, 1_000


def tag_items(dataset: Dataset, item_ids: Collection[int], name: str, user: User | None, *, is_on: bool) -> list[int]:
    """Attach a tag to items of the dataset, or remove it. Return the ids of the items that exist.

    Attaching a tag twice changes nothing. Raises Refusal for an invalid name or too many items.
    """
    if len(item_ids) > MOST_ITEMS:
        raise Refusal(f"These are {len(item_ids):,} images.", f"Tag at most {MOST_ITEMS:,} at a time.")
    rows = dict(Item.objects.of(dataset).filter(pk__in=item_ids).values_list("pk", "row"))
    name = clean_name(name)
    if is_on:
        tag = _get_or_create(dataset, name)
        attached = [ItemTag(item_id=pk, tag=tag, row=row, tagged_by=user) for pk, row in rows.items()]
        ItemTag.objects.bulk_create(attached, ignore_conflicts=True)
    elif found := tag_named(dataset, name):
        ItemTag.objects.filter(tag=found, item__in=rows).delete()
    return list(rows)


def clean_name(name: str) -> str:
    """Return the name of a tag with single spaces. Raises Refusal if it is empty, too long or has a separator."""
    name = " ".join(name.split())
    if not name:
        raise Refusal("The tag has no name.", "Type one.", field="tag")
    try:
        Tag._meta.get_field("name").clean(name, None)
    except ValidationError as error:
        hint = f"Use at most {MAX_TAG} characters, and no comma, semicolon or bar."
        raise Refusal(f"{name[:MAX_TAG]!r} can't be a tag.", hint, field="tag") from error
    return FLAG if name.lower() == FLAG else name


def _get_or_create(dataset: Dataset, name: str) -> Tag:
    tag = tag_named(dataset, name)
    if tag is None:
        if dataset.tags.count() >= MOST_TAGS:
            raise Refusal(f"The dataset has {MOST_TAGS:,} tags.", "Use one of them. For values, import a field.")
        try:
            with transaction.atomic():
                return Tag.objects.create(dataset=dataset, name=name)
        except IntegrityError:  # someone else has just created it
            return dataset.tags.get(name__iexact=name)
    if tag.name != name and not tag.item_tags.exists():  # nobody uses the old spelling any more
        tag.name = name
        tag.save(update_fields=["name"])
    return tag


def tag_named(dataset: Dataset, name: str) -> Tag | None:
    """Return the dataset's tag of that name, ignoring case, or None."""
    return None if "\0" in name else Tag.objects.filter(dataset=dataset, name__iexact=name).first()


def tags_in_use(dataset: Dataset) -> QuerySet[Tag]:
    """Return the dataset's tags that an item has, by name."""
    used = Exists(ItemTag.objects.filter(tag=OuterRef("pk")))
    return Tag.objects.filter(used, dataset=dataset).order_by("name")


def has_remarks(dataset: Dataset) -> bool:
    """Return whether any item has a tag or a note."""
    return ItemTag.objects.filter(tag__dataset=dataset).exists() or Note.objects.filter(dataset=dataset).exists()


def tags_of(item_ids: Collection[int], *, until: datetime | None = None) -> dict[int, list[str]]:
    """Return the names of the tags of items that have any, sorted, by one query. ``until``: those attached then."""
    found: dict[int, list[str]] = {}
    attached = ItemTag.objects.filter(item__in=item_ids)
    if until is not None:
        attached = attached.filter(tagged_at__lte=until)
    for item_id, name in attached.values_list("item_id", "tag__name"):
        found.setdefault(item_id, []).append(name)
    return {item_id: sorted(names, key=str.lower) for item_id, names in found.items()}


def without_flag(names: Sequence[str]) -> list[str]:
    """Return the tags that are not the flag."""
    return [name for name in names if name != FLAG]


def as_json(item_ids: Collection[int]) -> list[dict[str, Any]]:
    """Return for each item what its tile shows: the flag, the tags, and whether it has a note."""
    tags = tags_of(item_ids)
    noted = set(Note.objects.filter(item__in=item_ids).values_list("item_id", flat=True))
    return [
        {
            "id": item_id,
            "flagged": FLAG in tags.get(item_id, []),
            "tags": without_flag(tags.get(item_id, [])),
            "noted": item_id in noted,
        }
        for item_id in item_ids
    ]
