"""Describe items, with their images, and as tables."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hoshina_client.errors import HoshinaError
from hoshina_client.transport import Transport

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image

# States that the API spells differently.
_STATES = {"unlabelled": "unlabeled", "labelled": "labeled"}
# Of a list of items in a notebook.
_SHOWN = 24


@dataclass(frozen=True)
class Prediction:
    """Represent a predicted class and its calibrated probability."""

    label: str
    probability: float


@dataclass
class Item:
    """Hold an item and its decision as of the request, or after a decision that this object was given to.

    ``annotation`` is the newest decision that is known here; ``round`` and ``rank`` say how a queue served the item,
    and are saved with a decision about it.
    """

    id: int
    row: int
    path: str
    state: str
    label: str | None
    annotation: int
    is_available: bool
    prediction: Prediction | None = None
    fields: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    round: int | None = None
    rank: int | None = None
    score: float | None = None
    selection_probability: float | None = None
    reason: str = ""
    _thumb_url: str = field(default="", repr=False)
    _file_url: str = field(default="", repr=False)
    _transport: Transport | None = field(default=None, repr=False, compare=False)

    def thumbnail(self) -> bytes:
        """Return a small picture of the item, as the workbench shows it: the content of a WebP, JPEG or PNG file."""
        return self._content(self._thumb_url)

    def image(self) -> Image:
        """Return the picture of the item in full size, as HOSHINA shows it. Needs Pillow."""
        try:
            from PIL import Image
        except ModuleNotFoundError as error:
            raise HoshinaError("Images need Pillow.", "Install it: pip install pillow") from error
        return Image.open(io.BytesIO(self._content(self._file_url)))

    def _content(self, address: str) -> bytes:
        if self._transport is None:
            raise HoshinaError("This item has no connection to a server.")
        return self._transport.content(address)

    def _repr_html_(self) -> str:
        return f'<div style="display:flex;flex-wrap:wrap">{_figure(self)}</div>'


class Items(list[Item]):
    """Represent a list of items.

    Of a queue, it has its ``round``, and a ``note`` that says why there are few or none.
    """

    def __init__(self, items: Iterable[Item] = (), *, round: int | None = None, note: str = "") -> None:
        super().__init__(items)
        self.round = round
        self.note = note

    def to_pandas(self) -> DataFrame:
        """Return a table with one row for each item, and metadata as columns. Needs pandas."""
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise HoshinaError("Tables need pandas.", "Install it: pip install pandas") from error
        table: DataFrame = pd.DataFrame([_row(item) for item in self], columns=None if self else [*_COLUMNS])
        return table

    def _repr_html_(self) -> str:
        more = f"<p>and {len(self) - _SHOWN:,} more</p>" if len(self) > _SHOWN else ""
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        figures = "".join(_figure(item) for item in self[:_SHOWN])
        return f'{note}<div style="display:flex;flex-wrap:wrap">{figures}</div>{more}'


_COLUMNS = ("item_id", "path", "state", "label", "predicted", "probability", "round", "rank", "score",
            "selection_probability", "reason")  # fmt: skip


def _row(item: Item) -> dict[str, Any]:
    prediction = item.prediction
    values = (
        item.id, item.path, item.state, item.label, prediction.label if prediction else None,
        prediction.probability if prediction else None, item.round, item.rank, item.score, item.selection_probability,
        item.reason,
    )  # fmt: skip
    columns: dict[str, Any] = dict(zip(_COLUMNS, values, strict=True))
    return columns | {name: value for name, value in item.fields.items() if name not in columns}


def state_of(name: str) -> str:
    """Return the name of a state in this package: unlabeled, labeled, unsure or skipped."""
    return _STATES.get(name, name)


def item_of(transport: Transport, answer: dict[str, Any]) -> Item:
    """Return the item that an answer describes."""
    predicted = answer.get("prediction")
    same = {name: answer[name] for name in ("id", "row", "path", "annotation", "is_available")}
    served: dict[str, Any] = {name: answer.get(name) for name in ("round", "rank", "score", "selection_probability")}
    return Item(
        **same,
        **served,
        state=state_of(answer["state"]),
        label=answer["class_name"],
        prediction=Prediction(predicted["class_name"], predicted["probability"]) if predicted else None,
        fields=answer.get("fields") or {},
        tags=answer.get("tags") or [],
        reason=answer.get("reason", ""),
        _thumb_url=answer["thumb_url"],
        _file_url=answer["file_url"],
        _transport=transport,
    )


def _figure(item: Item) -> str:
    """Return the thumbnail and a caption as HTML."""
    name = html.escape(item.path)
    caption = html.escape(item.label or (item.state if item.state != "unlabeled" else ""))
    if item.prediction and not caption:
        caption = f"{html.escape(item.prediction.label)}? {item.prediction.probability:.0%}"
    try:
        content = item.thumbnail()
    except HoshinaError as error:
        picture = html.escape(error.message)
    else:
        data = base64.b64encode(content).decode()
        picture = f'<img alt="{name}" src="data:{_kind(content)};base64,{data}" style="height:96px">'
    return f'<figure style="margin:4px" title="{name}">{picture}<figcaption>{caption}</figcaption></figure>'


def _kind(content: bytes) -> str:
    if content.startswith(b"\x89PNG"):
        return "image/png"
    return "image/webp" if content[8:12] == b"WEBP" else "image/jpeg"
