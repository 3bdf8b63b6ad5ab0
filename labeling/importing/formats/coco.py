"""Read COCO Camera Traps, and the detections of MegaDetector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from hoshina.core.errors import Refusal
from labeling.importing.formats.base import File, Importer, Rows

_ID = int | str


class _Category(msgspec.Struct):
    id: _ID
    name: str


class _Image(msgspec.Struct):
    id: _ID
    file_name: str
    location: str | int | None = None
    datetime: str | None = None
    seq_id: str | int | None = None


class _Annotation(msgspec.Struct):
    image_id: _ID
    category_id: _ID
    score: float | None = None


class _Coco(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


class CameraTraps(Importer):
    """Read the category of each image. Images with several categories are unsure."""

    name = "coco"
    title = "COCO Camera Traps"
    sentence = (
        "The category of each image; location, datetime and seq_id become metadata fields. Images with several "
        "categories become unsure."
    )
    library = "datumaro, and by hand"
    order = 30

    def recognizes(self, file: File) -> bool:
        """Return whether the file has annotations and categories."""
        return {"annotations", "categories"} <= file.keys

    def rows(self, file: File) -> Rows:
        """Read the document."""
        if "images" not in file.keys:
            kind = "segmentation" if b'"segmentation"' in file.content() else "annotations"
            hint = "Choose the file that also has the list images."
            raise Refusal(f"This looks like a COCO file with {kind} but without images.", hint)
        try:
            document = msgspec.json.decode(file.content().removeprefix(b"\xef\xbb\xbf"), type=_Coco)
        except msgspec.DecodeError as error:
            raise Refusal(f"This looks like a COCO file, but it can't be read ({error}).") from error
        names = {category.id: category.name for category in document.categories}
        labels: dict[_ID, set[str]] = {}
        for made in document.annotations:
            if made.category_id not in names:
                raise Refusal(
                    f"This COCO file has an annotation of category {made.category_id!r}, which is not listed."
                )
            labels.setdefault(made.image_id, set()).add(names[made.category_id])
        extra = [
            name
            for name in ("location", "datetime", "seq_id")
            if any(getattr(image, name) for image in document.images)
        ]

        def read() -> Iterator[tuple[int, list[Any]]]:
            for number, image in enumerate(document.images, 1):
                found = labels.get(image.id, set())
                label = next(iter(found)) if len(found) == 1 else ""
                yield number, [image.file_name, label, len(found) > 1, *(getattr(image, name) for name in extra)]

        roles = {"unsure": "unsure", **dict.fromkeys(extra, "field")}
        return Rows(("file_name", "label", "unsure", *extra), read, roles)


class Detection(msgspec.Struct):
    """Represent a detection. ``bbox``: left, top, width and height as shares of the image; videos have frames."""

    category: str
    conf: float
    bbox: tuple[float, ...] | None = None
    classifications: list[tuple[str, float]] = []
    frame_number: int | None = None


class DetectedImage(msgspec.Struct):
    """Represent an image; without ``detections``, it could not be read."""

    file: str
    detections: list[Detection] | None = None
    failure: str | None = None


class _Info(msgspec.Struct):
    detector_metadata: dict[str, Any] = {}


class MegaDetectorFile(msgspec.Struct):
    """Hold the fields of a MegaDetector file that are used here, as in versions 1.0 to 1.6 of its format."""

    images: list[DetectedImage]
    detection_categories: Mapping[str, str]
    classification_categories: Mapping[str, str] = {}
    info: _Info = msgspec.field(default_factory=_Info)

    def listed(self, image: DetectedImage) -> list[Detection]:
        """Return the detections of an image, without those of a category that is not listed: they do not count."""
        return [found for found in image.detections or () if found.category in self.detection_categories]

    def classification(self, found: Detection) -> tuple[str, float | None]:
        """Return the most likely class of a detection, and its confidence."""
        best = max(found.classifications, key=lambda pair: pair[1], default=None)
        return ("", None) if best is None else (self.classification_categories.get(best[0], best[0]), best[1])


class MegaDetector(Importer):
    """Read detections as metadata: they say what is in an image, and not its class."""

    name = "megadetector"
    title = "MegaDetector JSON"
    sentence = (
        "Detections as metadata fields: their number, the best confidence, and its category (empty without any). "
        "No labels are made. On request, each detection becomes an image of a new dataset."
    )
    library = "hand, and accepted by the validator of megadetector"
    order = 25

    def recognizes(self, file: File) -> bool:
        """Return whether the file has the categories of detections."""
        return "detection_categories" in file.keys

    def document(self, file: File) -> MegaDetectorFile:
        """Return the content. Raises Refusal."""
        try:
            return msgspec.json.decode(file.content().removeprefix(b"\xef\xbb\xbf"), type=MegaDetectorFile)
        except msgspec.DecodeError as error:
            raise Refusal(f"This looks like a MegaDetector file, but it can't be read ({error}).") from error

    def rows(self, file: File) -> Rows:
        """Read the document."""
        document = self.document(file)

        def read() -> Iterator[tuple[int, list[Any]]]:
            for number, image in enumerate(document.images, 1):
                if image.detections is None:  # it could not be read
                    yield number, [image.file, None, None, None]
                    continue
                listed = document.listed(image)
                best = max(listed, key=lambda found: found.conf, default=None)
                category = document.detection_categories[best.category] if best else "empty"
                yield number, [image.file, len(listed), best.conf if best else 0.0, category]

        names = ("detections", "detection_confidence", "detection_category")
        return Rows(("file", *names), read, dict.fromkeys(names, "field"))
