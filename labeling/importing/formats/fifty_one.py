"""Read the labels of FiftyOne's formats for image classification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from hoshina.core.errors import Refusal
from labeling.importing.formats.base import File, Importer, Rows


class _ImageClassification(msgspec.Struct):
    """Hold labels.json of a FiftyOneImageClassificationDataset; classes are indices if there is a list of them."""

    labels: Mapping[str, int | str | Mapping[str, Any] | None]
    classes: list[str] | None = None


class _Samples(msgspec.Struct):
    """Hold the file samples.json of FiftyOneDataset."""

    samples: list[Mapping[str, Any]]


class FiftyOne(Importer):
    """Read labels.json of an image classification dataset, and samples.json of a whole dataset."""

    name = "fiftyone"
    title = "FiftyOne"
    sentence = (
        "labels.json of FiftyOneImageClassificationDataset, and samples.json of FiftyOneDataset with a Classification."
    )
    order = 30

    def recognizes(self, file: File) -> bool:
        """Return whether the file has the keys of one of the formats."""
        return file.keys in ({"labels", "classes"}, {"labels"}) or "samples" in file.keys

    def rows(self, file: File) -> Rows:
        """Read the labels."""
        content = file.content().removeprefix(b"\xef\xbb\xbf")
        try:
            if "samples" in file.keys:
                return _from_samples(msgspec.json.decode(content, type=_Samples).samples)
            return _from_labels(msgspec.json.decode(content, type=_ImageClassification))
        except msgspec.DecodeError as error:
            raise Refusal(f"This looks like a FiftyOne file, but it can't be read ({error}).") from error


def _from_labels(document: _ImageClassification) -> Rows:
    def read() -> Iterator[tuple[int, list[Any]]]:
        for number, (name, value) in enumerate(document.labels.items(), 1):
            details = value if isinstance(value, Mapping) else {"label": value}
            label = details.get("label")
            if isinstance(label, int) and not isinstance(label, bool):
                label = _class_of(document.classes, label, name)
            yield number, [name, label, details.get("confidence")]

    return Rows(("image", "label", "confidence"), read)


def _class_of(classes: Sequence[str] | None, number: int, name: str) -> str:
    if classes is None:
        return str(number)
    if not 0 <= number < len(classes):
        raise Refusal(f"The label of {name[:100]!r} is number {number}, but the file has {len(classes)} classes.")
    return classes[number]


def _from_samples(samples: Sequence[Mapping[str, Any]]) -> Rows:
    names = {
        name for sample in samples for name, value in sample.items()
        if isinstance(value, Mapping) and value.get("_cls") == "Classification"
    }  # fmt: skip
    if not names:
        kinds = {str(value["_cls"]) for sample in samples[:100] for value in sample.values()
                 if isinstance(value, Mapping) and "_cls" in value}  # fmt: skip
        listed = f" with {', '.join(sorted(kinds))} but" if kinds else ""
        raise Refusal(
            f"This looks like a FiftyOne file{listed} without a Classification.",
            "Only labels of whole images are read.",
        )
    field = "ground_truth" if "ground_truth" in names else min(names)

    def read() -> Iterator[tuple[int, list[Any]]]:
        for number, sample in enumerate(samples, 1):
            value = sample.get(field) or {}
            tags = [*(sample.get("tags") or ()), *(value.get("tags") or ())]
            yield number, [sample.get("filepath"), value.get("label"), value.get("confidence"), tags]

    return Rows(("filepath", f"{field}.label", "confidence", "tags"), read, {f"{field}.label": "label"})
