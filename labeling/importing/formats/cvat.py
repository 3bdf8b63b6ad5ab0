"""Read the XML of CVAT for images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO
from xml.parsers import expat

from hoshina.core.errors import Refusal
from labeling.importing.formats.base import File, Importer, Rows

_SHAPES = frozenset({"box", "polygon", "polyline", "points", "mask", "ellipse", "cuboid", "skeleton"})
_PIECE = 2**16


class Cvat(Importer):
    """Read the tags of images. An image with several tags is unsure."""

    name = "cvat"
    title = "CVAT XML"
    sentence = "Tags of images in “CVAT for images 1.1”. Images with several tags become unsure. Boxes are not read."
    library = "datumaro"
    order = 30

    def recognizes(self, file: File) -> bool:
        """Return whether the root element is ``annotations``."""
        return file.text.startswith("<") and "<annotations>" in file.text[:4096]

    def rows(self, file: File) -> Rows:
        """Read the file as a stream, once to see that it has tags, and again for the labels."""
        parser = _Parser()
        n_images = sum(1 for _ in parser.images(file.stream))
        if not parser.n_tags:
            shapes = f"{', '.join(sorted(parser.shapes))} but " if parser.shapes else ""
            what = f"with {shapes}without tags" if n_images else "without images"
            raise Refusal(
                f"This looks like a CVAT file {what}.", "Only tags, the labels of whole images, are imported."
            )
        return Rows(("image", "label", "unsure"), lambda: _Parser().images(file.stream), {"unsure": "unsure"})


class _Parser:
    """Represent a parser of the images and their tags that refuses declarations of entities."""

    def __init__(self) -> None:
        self.n_tags = 0
        self.shapes: set[str] = set()
        self._rows: list[tuple[int, list[Any]]] = []
        self._n, self._name, self._tags = 0, "", list[str]()
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._refuse

    def images(self, stream: BinaryIO) -> Iterator[tuple[int, list[Any]]]:
        """Yield the name of each image, its label, and whether it has several."""
        stream.seek(0)
        try:
            while piece := stream.read(_PIECE):
                self._parser.Parse(piece)
                yield from self._rows
                self._rows = []
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise Refusal(
                f"This looks like a CVAT file, but it can't be read ({error}).", "Export it again."
            ) from error
        yield from self._rows

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "image":
            self._n, self._name, self._tags = self._n + 1, attributes.get("name", ""), []
        elif name == "tag":
            self.n_tags += 1
            self._tags.append(attributes.get("label", ""))
        elif name in _SHAPES:
            self.shapes.add(name)

    def _end(self, name: str) -> None:
        if name == "image" and self._name:
            is_single = len(set(self._tags)) == 1
            self._rows.append((self._n, [self._name, self._tags[0] if is_single else "", len(set(self._tags)) > 1]))

    @staticmethod
    def _refuse(*_: object) -> None:
        raise Refusal("This XML file has a document type declaration, which is not read.", "Remove the line <!DOCTYPE.")
