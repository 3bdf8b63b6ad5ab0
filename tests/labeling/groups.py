"""Groups of files that are one item each, for tests of labeling."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labeling.models import Dataset, Frame
from tests.labeling.factories import ingest_folder, write_png

FLAT = "{id}_{role}.png"
ROLES = ("target", "ref", "diff")


def rename_group(folder: Path, before: str, after: str, template: str = FLAT) -> None:
    """Rename a group's files."""
    for role in ROLES:
        old = folder / template.replace("{id}", before).replace("{role}", role)
        new = folder / template.replace("{id}", after).replace("{role}", role)
        new.parent.mkdir(parents=True, exist_ok=True)
        if old.exists():
            old.rename(new)


def ingest_groups(folder: Path, template: str | None = None, **kwargs: Any) -> dict[str, Any]:
    return ingest_folder(folder, grouping=template, **kwargs)


def write_triplets(folder: Path, ids: Iterable[int], template: str = FLAT, *, roles: Iterable[str] = ROLES) -> None:
    """Write files of different content each, the same for the same id and role."""
    for number in ids:
        for role in roles:
            name = template.replace("{id}", f"sn{number}").replace("{role}", role)
            write_png(folder / name, seed=10 * number + ROLES.index(role))


def assert_consistent(dataset: Dataset) -> None:
    dataset.refresh_from_db()
    items = list(dataset.items.order_by("row"))
    assert [item.row for item in items] == list(range(dataset.n_items))
    assert dataset.n_missing == sum(not item.is_available for item in items)
    assert all(Frame.objects.filter(item=item).exists() for item in items)
    files = [frame.file for frame in Frame.objects.filter(item__is_available=True)]
    assert all(file.is_file() for file in files)
