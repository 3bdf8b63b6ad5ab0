"""Export a dataset: labels, classes, splits, images, sections of other packages, and a manifest, or another layout.

The labels are read in one pass. All files and counts come from this pass, so that they agree even if labeling continues
during the export. About 40 bytes per labeled item stay in memory, for the splits.
"""

from __future__ import annotations

import platform
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal, reason_of
from labeling.exporting.canonical_text import csv_line, escape_formulas, json_bytes, moment
from labeling.exporting.contents import Contents
from labeling.exporting.data_card import data_card
from labeling.exporting.facts import decision_facts
from labeling.exporting.folder import write_members
from labeling.exporting.images import Images
from labeling.exporting.labeled import SKIPPED_ID, UNDECIDED, UNSURE_ID, Classes, Labeled
from labeling.exporting.layouts import layout_named
from labeling.exporting.near_duplicates import near_duplicates_of, require_possible
from labeling.exporting.options import DEFAULT_LAYOUT, Options
from labeling.exporting.past import Past, past_of
from labeling.exporting.past_classes import classes_at
from labeling.exporting.registry import sections
from labeling.exporting.remarks import REMARK_COLUMNS, remark_lines
from labeling.exporting.rows import BATCH, LabelRow, decided_items, files_of
from labeling.exporting.scope import scope_of
from labeling.exporting.splits import SPLITS
from labeling.exporting.version import LIBRARIES, app_version, library_versions
from labeling.exporting.zip_stream import Member, Written, stream_zip
from labeling.fields.split_groups import Groups, named
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
    if problem := reason_of(lambda: layout_named(options.layout).check(dataset, options)):
        return problem
    if problem := reason_of(lambda: _require_possible(dataset, options)):
        return problem
    by_name = {section.name: section for section in sections()}
    for name in sorted(options.extras):
        if name not in by_name:
            return f"There is no option {name!r}. The options are {', '.join(by_name)}."
        if why_not := by_name[name].why_not(dataset):
            return why_not
        if options.as_of and by_name[name].tables is None:
            return f"The option {name} describes today, and can't be rebuilt as of an earlier time. Leave it out."
    return ""


def _require_possible(dataset: Dataset, options: Options) -> None:
    past = past_of(dataset, options.as_of)
    if options.with_unsure:
        _require_free_names(dataset, past)
    require_possible(dataset, options, past)


def _require_free_names(dataset: Dataset, past: Past | None) -> None:
    """Raise Refusal if unsure and skipped images can't be two more classes."""
    for label in classes_at(dataset, past).values():
        if not label.is_retired and label.name in UNDECIDED.values():
            message = f"Unsure and skipped images can't be a class, because “{label.name}” is one already."
            raise Refusal(message, "Rename it first." if past is None else "Leave them out.")


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
        self._scope = scope_of(dataset, options.as_of, is_numbered=options.numbers_annotators)
        self._contributions = (
            []
            if self._scope.past
            else [section.contribute(dataset, section.name in options.extras) for section in self._sections]
        )
        self._groups = Groups(named(dataset, options.group_by)) if options.group_by else None
        self._classes = Classes.of(dataset, self._scope.past)
        self._includes_unsure = options.with_unsure and options.layout != DEFAULT_LAYOUT
        if self._includes_unsure:
            self._classes |= {pk: LabelClass(pk=pk, name=name) for pk, name in UNDECIDED.items()}
        self._images = Images(dataset)
        self._written: dict[str, Written] = {}
        self._unsure = self._skipped = 0
        self._labeled = Labeled(options, self._groups, near_duplicates_of(dataset) if options.checks_leakage else None)
        # All items with a decision, if items have several frames.
        self._decided = array("q")
        self._contents = Contents(
            dataset, options, self._classes, self._images, read=self._read, tables=self._tables, card=lambda: self._card
        )

    @property
    def n_images(self) -> int:
        """Return the number of image files written so far."""
        return self._images.written

    def __iter__(self) -> Iterator[bytes]:
        return stream_zip(self.members(), self._written)

    def write_folder(self, folder: Path, *, links: bool) -> None:
        """Write the files into an empty folder; ``links``: hard links to the image files instead of copies."""
        write_members(self.members(), folder, self._written, links=links)

    def members(self) -> Iterator[Member]:
        """Yield the files of the layout, and the manifest as the last one, because it describes all others."""
        members = chain(layout_named(self.options.layout).members(self._contents), self._leakage())
        yield from map(_escaped, members) if self.options.escapes_formulas else members
        if not layout_named(self.options.layout).has_card:
            yield Member("data_card.md", [self._card.encode()])
        yield Member("manifest.json", self._manifest(), is_listed=False)

    def _leakage(self) -> Iterator[Member]:
        """Yield the table of near-duplicates, when the splits are known."""
        if self._labeled.certificate is not None:
            is_huge = len(self._labeled.certificate.places) > HUGE_ROWS // 2
            yield Member("leakage.csv", self._labeled.certificate.lines(), is_huge)

    def _read(self) -> Labeled:
        """Read the labels and assign the splits, for layouts that write no tables."""
        for batch in decided_items(self.dataset, self._scope):
            self.rows += len(batch)
            for row in batch:
                self._count(row)
        self._classes.drop_unused(self._labeled.class_ids)
        self._labeled.assign(self._classes)
        return self._labeled

    def _tables(self) -> Iterator[Member]:
        is_huge = self.dataset.n_items > HUGE_ROWS
        yield Member("labels.csv", self._label_lines(), is_huge)
        if self.dataset.roles:
            yield Member("frames.csv", self._frame_lines(), is_huge)
        if has_remarks(self.dataset):
            yield Member("notes.csv", remark_lines(self.dataset, self._scope), is_huge)
        yield Member("classes.json", self._class_list())
        yield Member("splits.csv", self._split_lines(), is_huge)
        for contribution in self._contributions:
            yield from contribution.members
        for section in self._sections:
            if section.tables is not None and section.name in self.options.extras:
                yield from section.tables(self.dataset, self._scope)
        if self.options.with_images:
            yield from self._images.members(batched(self._labeled.item_ids, BATCH))

    # -- labels.csv -------------------------------------------------------------------------------
    def _label_lines(self) -> Iterator[bytes]:
        yield csv_line(LABEL_COLUMNS).encode()
        for batch in decided_items(self.dataset, self._scope):
            self.rows += len(batch)
            yield "".join(self._label_line(row) for row in batch).encode()

    def _count(self, row: LabelRow) -> None:
        if self.dataset.roles:
            self._decided.append(row.item_id)
        if row.label_id is not None:
            # Look it up now, so that a class that was made during the export has its place among the others.
            self._classes[row.label_id]
            self._labeled.add(row, row.label_id)
            return
        if row.is_skipped:
            self._skipped += 1
        else:
            self._unsure += 1
        if self._includes_unsure:
            self._labeled.add(row, SKIPPED_ID if row.is_skipped else UNSURE_ID)

    def _label_line(self, row: LabelRow) -> str:
        self._count(row)
        label = "" if row.label_id is None else self._classes[row.label_id].name
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
        counts = Counter(self._labeled.class_ids)
        self._classes.drop_unused(counts)
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
        self._labeled.assign(self._classes)
        yield csv_line((*SPLIT_COLUMNS, *(["group"] if self._groups else []))).encode()
        for start in range(0, len(self._labeled.item_ids), BATCH):
            yield self._some_splits(self._labeled.item_ids[start : start + BATCH], start).encode()

    def _some_splits(self, ids: Sequence[int], start: int) -> str:
        paths = dict(Item.objects.filter(pk__in=ids).values_list("pk", "path"))
        groups: Sequence[Sequence[str]] = [[]] * len(ids)
        if self._groups is not None:
            groups = [[text] for text in self._groups.texts(self._labeled.rows[start : start + len(ids)])]
        return "".join(
            csv_line(
                (item_id, paths[item_id], self._classes[self._labeled.class_ids[place]].name,
                 SPLITS[self._labeled.splits[place]], *group)
            )
            for place, (item_id, group) in enumerate(zip(ids, groups, strict=True), start)
        )  # fmt: skip

    # -- manifest.json ----------------------------------------------------------------------------
    @property
    def _card(self) -> str:
        """Return the data card, when all labels are read."""
        return data_card(self._facts)

    @cached_property
    def _facts(self) -> dict[str, Any]:
        """Return the manifest without the files, when all labels are read."""
        libraries = dict(LIBRARIES)
        manifest: dict[str, Any] = {}
        for section in self._sections:
            libraries |= section.libraries
        for contribution in self._contributions:
            manifest |= contribution.manifest
        if self._scope.past:
            manifest["as_of"] = self._scope.past.as_manifest()
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
            "splits": self._labeled.split_counts(self._classes),
            "leakage": self._labeled.leakage(),
            "options": self.options.as_manifest()
            | {section.name: section.name in self.options.extras for section in self._sections},
            "seeds": {"splits": self.options.seed} | dict(manifest.get("seeds", {})),
            **decision_facts(self.dataset, self._scope),
        }
        return manifest

    def _manifest(self) -> Iterator[bytes]:
        manifest = self._facts | {
            "files": {
                name: {"bytes": written.bytes, "sha256": written.sha256} for name, written in self._written.items()
            },
        }
        if self.options.layout != DEFAULT_LAYOUT or self.options.with_images:
            manifest["images"] = self._images.as_manifest()
        yield json_bytes(manifest)

    def _class_guide(self) -> dict[str, Any]:
        """Return the class guide; empty if nobody has written one."""
        guide = self._contents.class_guide()
        return {"class_guide": guide} if guide else {}

    def _grouping(self) -> dict[str, Any]:
        """Return how files are grouped into items; empty if each file is an item."""
        dataset = self.dataset
        if not dataset.roles:
            return {}
        frames = {"template": dataset.grouping, "roles": dataset.roles, "composition": dataset.composition}
        return {"frames": frames | {"largest_split_group": self._labeled.largest_group}}

    def _counts(self) -> dict[str, int]:
        return {
            "items": self.dataset.n_items,
            "labelled": len(self._labeled.item_ids) - (self._unsure + self._skipped if self._includes_unsure else 0),
            "unsure": self._unsure,
            "skipped": self._skipped,
            "undecided": max(0, self.dataset.n_items - self.rows),
            "missing": self.dataset.n_missing,
        }
