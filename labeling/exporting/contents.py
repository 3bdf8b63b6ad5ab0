"""Give layouts the labeled images, with classes and splits, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from labeling.exporting.canonical_text import csv_line, json_bytes
from labeling.exporting.images import Images
from labeling.exporting.labeled import Classes, Labeled
from labeling.exporting.names import flat_name, folder_names, stem_and_ending
from labeling.exporting.options import Options
from labeling.exporting.rows import BATCH
from labeling.exporting.splits import SPLITS
from labeling.exporting.spool import Spool
from labeling.exporting.zip_stream import Member
from labeling.guide.guides import manifest_of
from labeling.models import Dataset, Frame, Item

ITEM_COLUMNS = ("file", "item_id", "path", "label", "split", "sha256")


@dataclass(frozen=True, slots=True)
class Label:
    """Describe a class. ``number``: its place among all names. ``folder``: its name as the name of a folder."""

    number: int
    name: str
    folder: str


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """Describe a labeled item's file. ``path``: in the dataset. ``name``: unique in the export, without folders."""

    number: int
    item_id: int
    item_path: str
    path: str
    name: str
    label: Label
    split: str
    sha256: str
    width: int
    height: int

    @property
    def stem(self) -> str:
        """Return the name without its ending."""
        return stem_and_ending(self.name)[0]

    @property
    def ending(self) -> str:
        """Return the ending of the name without its dot."""
        return stem_and_ending(self.name)[1].removeprefix(".")


class Contents:
    """Hold what layouts write. Iterate over the images as often as needed; files are counted as they are written.

    ``read``: reads the labels and assigns the splits. ``tables``: yields the files of the default layout instead, which
    it reads as it writes. ``card``: returns the data card, after the images.
    """

    def __init__(
        self,
        dataset: Dataset,
        options: Options,
        classes: Classes,
        images: Images,
        *,
        read: Callable[[], Labeled],
        tables: Callable[[], Iterator[Member]],
        card: Callable[[], str],
    ) -> None:
        self.dataset = dataset
        self.options = options
        self.tables = tables
        self.card = card
        self._classes = classes
        self._files = images
        self._read = read

    @cached_property
    def _labeled(self) -> Labeled:
        return self._read()

    @cached_property
    def labels(self) -> list[Label]:
        """Return all classes by name, also those without an image."""
        folders = folder_names(dict.fromkeys(label.name for label in self._labeled.classes))
        return [Label(number, name, folder) for number, (name, folder) in enumerate(folders.items())]

    @cached_property
    def _label_of(self) -> dict[int, Label]:
        by_name = {label.name: label for label in self.labels}
        return {pk: by_name[label.name] for pk, label in self._classes.items()}

    def images(self, split: str | None = None) -> Iterator[LabeledImage]:
        """Yield the labeled images by row, of one split or of all, by two queries per some hundred."""
        splits = self._labeled.splits
        places = np.arange(len(splits)) if split is None else np.flatnonzero(splits == SPLITS.index(split))
        for start in range(0, len(places), BATCH):
            yield from self._some_images(places[start : start + BATCH].tolist())

    def _some_images(self, places: list[int]) -> Iterator[LabeledImage]:
        labeled = self._labeled
        ids = [labeled.item_ids[place] for place in places]
        paths = dict(Item.objects.filter(pk__in=ids).values_list("pk", "path"))
        frames = Frame.objects.filter(item_id__in=ids)
        if self.dataset.roles:
            frames = frames.filter(role=self.options.role)
        columns = frames.values_list("item_id", "path", "sha256", "width", "height")
        files = {item_id: (path, sha256, width, height) for item_id, path, sha256, width, height in columns}
        for place, item_id in zip(places, ids, strict=True):
            path, sha256, width, height = files.get(item_id, (paths[item_id], "", 0, 0))
            yield LabeledImage(
                place, item_id, paths[item_id], path, flat_name(item_id, path),
                self._label_of[labeled.class_ids[place]], SPLITS[labeled.splits[place]], sha256, width, height,
            )  # fmt: skip

    def file(self, image: LabeledImage, name: str) -> Iterator[Member]:
        """Yield the image's file under this name; nothing if it is missing, which the manifest says."""
        return self._files.member(name, image.path, image.sha256)

    def content(self, image: LabeledImage) -> bytes | None:
        """Return the bytes of the image's file; None if it is missing, which the manifest says."""
        return self._files.content(image.path, image.sha256)

    def class_guide(self) -> list[dict[str, object]]:
        """Return the guides of the classes; empty if nobody has written one."""
        return manifest_of(self.dataset, self._classes.values())

    def class_list(self, name: str = "classes.json") -> Member:
        """Return a file with the names of the classes in the order of their numbers."""
        return Member(name, [json_bytes([label.name for label in self.labels])])


class ItemTable:
    """Collect the table of the files that a layout has written, for its end."""

    def __init__(self) -> None:
        self._lines = Spool()
        self._lines.add(csv_line(ITEM_COLUMNS).encode())

    def add(self, image: LabeledImage, file: str) -> None:
        """Add a line for an image that was written as ``file``."""
        values = (file, image.item_id, image.item_path, image.label.name, image.split, image.sha256)
        self._lines.add(csv_line(values).encode())

    def member(self) -> Member:
        return Member("items.csv", self._lines.chunks(), self._lines.is_huge)
