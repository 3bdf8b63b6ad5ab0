"""Export a dataset as a ZIP archive: labels, classes, splits, images, sections of other packages, and a manifest.

The labels are read in one pass. All files and counts come from this pass, so that they agree even if labeling continues
during the export. About 40 bytes per labeled item stay in memory, for the splits.
"""

from __future__ import annotations

import platform
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal, reason_of
from labeling.exporting.canonical_text import csv_line, escape_formulas, json_bytes, moment
from labeling.exporting.images import Images
from labeling.exporting.options import Options
from labeling.exporting.registry import sections
from labeling.exporting.remarks import REMARK_COLUMNS, remark_lines
from labeling.exporting.rows import BATCH, LabelRow, decided_items, files_of
from labeling.exporting.splits import SPLITS, Files, assign_splits, joined
from labeling.exporting.version import LIBRARIES, app_version, library_versions
from labeling.exporting.zip_stream import Member, Written, stream_zip
from labeling.fields.split_groups import Groups, named
from labeling.guide.guides import manifest_of
from labeling.models import Dataset, Item, LabelClass
from labeling.notes.tags import has_remarks

FORMAT = 1
LABEL_COLUMNS = (
    "item_id", "path", "label", "was_unsure", "skipped", "labelled_at", "annotator", "queue", "sha256",
    "created_at", "content_changed", *REMARK_COLUMNS,
)  # fmt: skip
FRAME_COLUMNS = ("item_id", "role", "path", "sha256")
SPLIT_COLUMNS = ("item_id", "path", "label", "split")
# A path may have 4,000 bytes, so that files with more rows than this may exceed 2 GiB.
HUGE_ROWS = 2**31 // 5000


def refusal(dataset: Dataset, options: Options) -> str:
    """Return why these options are not possible for this dataset; empty if they are."""
    if options.group_by and (problem := reason_of(lambda: Groups(named(dataset, options.group_by)))):
        return problem
    by_name = {section.name: section for section in sections()}
    for name in sorted(options.extras):
        if name not in by_name:
            return f"There is no option {name!r}. The options are {', '.join(by_name)}."
        if why_not := by_name[name].why_not(dataset):
            return why_not
    return ""


def _escaped(member: Member) -> Member:
    """Return a table without formulas, and any other member unchanged. Each chunk of a table is whole lines."""
    is_table = member.name.endswith(".csv") and not member.name.startswith("images/")
    return replace(member, chunks=map(escape_formulas, member.chunks)) if is_table else member


class Export:
    """An export. Iterate over it once for the bytes of the archive; ``rows`` is then the number of labels.

    Raises Refusal if an option is not possible, see :func:`refusal`.
    """

    def __init__(self, dataset: Dataset, options: Options) -> None:
        if message := refusal(dataset, options):
            raise Refusal(message)
        self.dataset = dataset
        self.options = options
        self.rows = 0
        self._sections = sections()
        self._contributions = [
            section.contribute(dataset, section.name in options.extras) for section in self._sections
        ]
        self._groups = Groups(named(dataset, options.group_by)) if options.group_by else None
        self._classes = _Classes(LabelClass.objects.active().filter(dataset=dataset).in_bulk())
        self._images = Images(dataset)
        self._written: dict[str, Written] = {}
        self._unsure = self._skipped = 0
        # One entry per labeled item, by row, as input of the splits.
        self._item_ids, self._rows, self._class_ids = array("q"), array("q"), array("q")
        self._files = Files(options.seed)
        # All items with a decision, if items have several frames.
        self._decided = array("q")
        self._splits: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self._largest = 0

    def __iter__(self) -> Iterator[bytes]:
        members = self._members()
        return stream_zip(map(_escaped, members) if self.options.escapes_formulas else members, self._written)

    def _members(self) -> Iterator[Member]:
        is_huge = self.dataset.n_items > HUGE_ROWS
        yield Member("labels.csv", self._label_lines(), is_huge)
        if self.dataset.roles:
            yield Member("frames.csv", self._frame_lines(), is_huge)
        if has_remarks(self.dataset):
            yield Member("notes.csv", remark_lines(self.dataset), is_huge)
        yield Member("classes.json", self._class_list())
        yield Member("splits.csv", self._split_lines(), is_huge)
        for contribution in self._contributions:
            yield from contribution.members
        if self.options.with_images:
            yield from self._images.members(batched(self._item_ids, BATCH))
        # The last member, because it describes all others.
        yield Member("manifest.json", self._manifest(), is_listed=False)

    # -- labels.csv -------------------------------------------------------------------------------
    def _label_lines(self) -> Iterator[bytes]:
        yield csv_line(LABEL_COLUMNS).encode()
        for batch in decided_items(self.dataset):
            self.rows += len(batch)
            yield "".join(self._label_line(row) for row in batch).encode()

    def _label_line(self, row: LabelRow) -> str:
        label = ""
        if self.dataset.roles:
            self._decided.append(row.item_id)
        if row.label_id is not None:
            label = self._classes[row.label_id].name
            self._item_ids.append(row.item_id)
            self._rows.append(row.row)
            self._class_ids.append(row.label_id)
            self._files.add(row.files or (f"path:{row.path}",))
        elif row.is_skipped:
            self._skipped += 1
        else:
            self._unsure += 1
        return csv_line(
            (
                row.item_id, row.path, label, row.was_unsure, row.is_skipped,
                moment(row.labelled_at), row.annotator, row.queue, row.sha256,
                moment(row.created_at), int(row.is_content_changed), *row.remarks.cells,
            )
        )  # fmt: skip

    # -- frames.csv -------------------------------------------------------------------------------
    def _frame_lines(self) -> Iterator[bytes]:
        """Yield the files of items with several frames, in the order of the roles."""
        place = {role: number for number, role in enumerate(self.dataset.roles)}
        yield csv_line(FRAME_COLUMNS).encode()
        for ids in batched(self._decided, BATCH):
            files = files_of(ids)
            for item_id in ids:
                frames = sorted(files.get(item_id, ()), key=lambda frame: place.get(frame[0], len(place)))
                yield "".join(csv_line((item_id, *frame)) for frame in frames).encode()

    # -- classes.json -----------------------------------------------------------------------------
    def _class_list(self) -> Iterator[bytes]:
        counts = Counter(self._class_ids)
        yield json_bytes(
            [
                {
                    "id": label.pk,
                    "name": label.name,
                    "colour": label.colour,
                    "key": label.key,
                    "letter": label.letter or None,
                    "labelled": counts[label.pk],
                }
                for label in self._classes.values()
            ]
        )

    # -- splits.csv -------------------------------------------------------------------------------
    def _split_lines(self) -> Iterator[bytes]:
        by_name = sorted(self._classes.values(), key=lambda label: (label.name, label.pk))
        ordinal = {label.pk: position for position, label in enumerate(by_name)}
        keys = self._joined_keys()
        self._largest = int(np.unique(keys, return_counts=True)[1].max(initial=0))
        self._splits = assign_splits(
            keys,
            np.fromiter((ordinal[pk] for pk in self._class_ids), np.int64, count=len(self._class_ids)),
            proportions=self.options.splits,
        )
        yield csv_line((*SPLIT_COLUMNS, *(["group"] if self._groups else []))).encode()
        for start in range(0, len(self._item_ids), BATCH):
            yield self._some_splits(self._item_ids[start : start + BATCH], start).encode()

    def _some_splits(self, ids: Sequence[int], start: int) -> str:
        paths = dict(Item.objects.filter(pk__in=ids).values_list("pk", "path"))
        groups: Sequence[Sequence[str]] = [[]] * len(ids)
        if self._groups is not None:
            groups = [[text] for text in self._groups.texts(self._rows[start : start + len(ids)])]
        return "".join(
            csv_line(
                (item_id, paths[item_id], self._classes[self._class_ids[place]].name,
                 SPLITS[self._splits[place]], *group)
            )
            for place, (item_id, group) in enumerate(zip(ids, groups, strict=True), start)
        )  # fmt: skip

    def _joined_keys(self) -> NDArray[np.uint64]:
        """Return keys (n,) that are equal for items that must share a split: those of the same file or group."""
        keys = self._files.keys()
        if self._groups is not None:
            keys.append(self._groups.keys(self._rows, keys[0], self.options.seed))
        return joined(keys)

    # -- manifest.json ----------------------------------------------------------------------------
    def _manifest(self) -> Iterator[bytes]:
        libraries = dict(LIBRARIES)
        manifest: dict[str, Any] = {}
        for section, contribution in zip(self._sections, self._contributions, strict=True):
            manifest |= contribution.manifest
            libraries |= section.libraries
        manifest |= {
            "format": FORMAT,
            "app": {"name": "hoshina", "version": app_version()},
            "python": platform.python_version(),
            "libraries": library_versions(libraries),
            "dataset": {
                name: getattr(self.dataset, name) for name in ("name", "slug", "description", "license", "citation")
            },
            **self._class_guide(),
            "rendering": self.dataset.rendering,
            **self._grouping(),
            "counts": self._counts(),
            "splits": self._split_counts(),
            "options": self.options.as_manifest()
            | {section.name: section.name in self.options.extras for section in self._sections},
            "seeds": {"splits": self.options.seed} | dict(manifest.get("seeds", {})),
            "files": {
                name: {"bytes": written.bytes, "sha256": written.sha256} for name, written in self._written.items()
            },
        }
        if self.options.with_images:
            manifest["images"] = self._images.as_manifest()
        yield json_bytes(manifest)

    def _class_guide(self) -> dict[str, Any]:
        """Return the class guide; empty if nobody has written one."""
        guide = manifest_of(self.dataset)
        return {"class_guide": guide} if guide else {}

    def _grouping(self) -> dict[str, Any]:
        """Return how files are grouped into items; empty if each file is an item."""
        dataset = self.dataset
        if not dataset.roles:
            return {}
        frames = {"template": dataset.grouping, "roles": dataset.roles, "composition": dataset.composition}
        return {"frames": frames | {"largest_split_group": self._largest}}

    def _counts(self) -> dict[str, int]:
        return {
            "items": self.dataset.n_items,
            "labelled": len(self._item_ids),
            "unsure": self._unsure,
            "skipped": self._skipped,
            "undecided": max(0, self.dataset.n_items - self.rows),
            "missing": self.dataset.n_missing,
        }

    def _split_counts(self) -> dict[str, Any]:
        table: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        for place, class_id in enumerate(self._class_ids):
            table[SPLITS[self._splits[place]]][self._classes[class_id].name] += 1
        return {split: {"items": per_class.total(), "classes": dict(per_class)} for split, per_class in table.items()}


class _Classes(dict[int, LabelClass]):
    """The classes at the start of the export by ID, and those that were first used while it ran."""

    def __missing__(self, pk: int) -> LabelClass:
        self[pk] = LabelClass.objects.get(pk=pk)
        return self[pk]
