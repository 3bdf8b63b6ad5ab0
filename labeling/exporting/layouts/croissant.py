"""Write Croissant 1.0 metadata with fields of Responsible AI (RAI) 1.0, a table and the images."""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Iterator
from typing import Any

from labeling.exporting.canonical_text import json_bytes
from labeling.exporting.contents import Contents, LabeledImage
from labeling.exporting.layouts.base import Layout, Loading
from labeling.exporting.splits import SPLITS
from labeling.exporting.spool import Spool
from labeling.exporting.version import app_version
from labeling.exporting.zip_stream import Member

MLCROISSANT = """
import mlcroissant as mlc

dataset = mlc.Dataset(jsonld="data/croissant.json")
records = dataset.records(record_set="images")
"""
# JSON Lines, because mlcroissant takes a class NA in a CSV table for a missing value.
TABLE = "items.jsonl"
COLUMNS = ("file", "label", "split", "item_id", "path", "sha256")
# What the module mimetypes does not know.
_MEDIA_TYPES = {"fits": "image/fits", "fit": "image/fits", "fts": "image/fits", "dcm": "application/dicom"}
_MEDIA_TYPES |= {"webp": "image/webp", "avif": "image/avif", "jp2": "image/jp2", "jxl": "image/jxl"}
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


class Croissant(Layout):
    """croissant.json beside a table and a folder of images."""

    name = "croissant"
    title = "Croissant"
    sentence = (
        "Croissant 1.0 metadata with Responsible AI fields, for a catalog of datasets, with a table and the images."
    )
    loading = (Loading("mlcroissant", MLCROISSANT),)

    def members(self, contents: Contents) -> Iterator[Member]:
        """Yield the images, the table and the metadata."""
        table = Spool()
        digest = hashlib.sha256()
        formats: set[str] = set()
        for image in contents.images():
            for member in contents.file(image, f"images/{image.name}"):
                yield member
                line = json.dumps(_record(image)).encode() + b"\n"
                table.add(line)
                digest.update(line)
                formats.add(_media_type(image))
        yield Member(TABLE, table.chunks(), table.is_huge)
        yield Member("croissant.json", [json_bytes(_metadata(contents, digest.hexdigest(), sorted(formats)))])


def _record(image: LabeledImage) -> dict[str, object]:
    values = (image.name, image.label.name, image.split, image.item_id, image.item_path, image.sha256)
    return dict(zip(COLUMNS, values, strict=True))


def _media_type(image: LabeledImage) -> str:
    return mimetypes.guess_type(image.name)[0] or _MEDIA_TYPES.get(image.ending.lower(), "application/octet-stream")


def _metadata(contents: Contents, table_sha256: str, formats: list[str]) -> dict[str, Any]:
    dataset = contents.dataset
    metadata = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": dataset.name,
        "description": dataset.description or f"Images of {dataset.name} with one class each.",
        "distribution": _distribution(table_sha256, formats),
        "recordSet": [_classes(contents), _splits(), _images()],
    }
    if dataset.license:
        metadata["license"] = dataset.license
    if dataset.citation:
        metadata["citeAs"] = dataset.citation
    return metadata | _responsible_ai(contents)


def _responsible_ai(contents: Contents) -> dict[str, Any]:
    """Return what is on record about the annotation."""
    fields: dict[str, Any] = {
        "rai:dataAnnotationPlatform": [f"HOSHINA {app_version()}"],
        "rai:annotationsPerItem": "The newest decision of a person counts; manifest.json has the numbers.",
    }
    described = [
        f"{entry['class']}: {entry['description']}" for entry in contents.class_guide() if entry.get("description")
    ]
    if described:
        fields["rai:dataAnnotationProtocol"] = ["\n\n".join(described)]
    return fields


def _distribution(table_sha256: str, formats: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": TABLE,
            "name": TABLE,
            "contentUrl": TABLE,
            "encodingFormat": "application/jsonlines",
            "sha256": table_sha256,
        },
        {
            "@type": "cr:FileSet",
            "@id": "image-files",
            "name": "image-files",
            "encodingFormat": formats,
            "includes": "images/*",
        },
    ]


def _classes(contents: Contents) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/name"},
        "field": [_field("classes/name", "sc:Text")],
        "data": [{"classes/name": label.name} for label in contents.labels],
    }


def _splits() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [_field("splits/name", "sc:Text")],
        "data": [{"splits/name": split} for split in SPLITS],
    }


def _images() -> dict[str, Any]:
    content = {"fileSet": {"@id": "image-files"}, "extract": {"fileProperty": "content"}}
    file_name = {"fileSet": {"@id": "image-files"}, "extract": {"fileProperty": "filename"}}
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "key": {"@id": "images/file"},
        "field": [
            _field("images/file", "sc:Text") | {"source": file_name, "references": _in_table("file")},
            _field("images/image", "sc:ImageObject") | {"source": content},
            _column("label", ["sc:Text", "cr:Label"]) | {"references": {"field": {"@id": "classes/name"}}},
            _column("split", ["sc:Text", "cr:Split"]) | {"references": {"field": {"@id": "splits/name"}}},
            _column("item_id", "sc:Integer"),
            _column("path", "sc:Text"),
            _column("sha256", "sc:Text"),
        ],
    }


def _field(name: str, data_type: str | list[str]) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name, "dataType": data_type}


def _column(name: str, data_type: str | list[str]) -> dict[str, Any]:
    return _field(f"images/{name}", data_type) | {"source": _in_table(name)}


def _in_table(name: str) -> dict[str, Any]:
    return {"fileObject": {"@id": TABLE}, "extract": {"column": name}}
