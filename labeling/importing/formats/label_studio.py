"""Read the JSON export of Label Studio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from hoshina.core.errors import Refusal
from labeling.importing.formats.base import File, Importer, Rows

_IMAGE, _LABEL, _SKIPPED, _ANNOTATOR, _TIME = "image", "label", "skipped", "annotator", "updated_at"


class _Result(msgspec.Struct):
    type: str = ""
    value: Mapping[str, Any] = msgspec.field(default_factory=dict)


class _Annotation(msgspec.Struct):
    result: list[_Result] = msgspec.field(default_factory=list)
    completed_by: Any = None
    was_cancelled: bool = False
    updated_at: str = ""


class _Task(msgspec.Struct):
    data: Mapping[str, Any]
    annotations: list[_Annotation] = msgspec.field(default_factory=list)
    completions: list[_Annotation] = msgspec.field(default_factory=list)


class LabelStudio(Importer):
    """Read tasks with their choices. Several choices of one annotation are none; a skipped task is skipped."""

    name = "labelstudio"
    title = "Label Studio JSON"
    sentence = (
        "Tasks with choices. Of several annotations of a task, the last one applies. The annotator and time are read."
    )
    library = "label-studio-sdk"
    order = 30

    def recognizes(self, file: File) -> bool:
        """Return whether the file is a list of tasks."""
        return "data" in file.first_keys and bool({"annotations", "completions", "predictions"} & file.first_keys)

    def rows(self, file: File) -> Rows:
        """Read the tasks."""
        try:
            tasks = msgspec.json.decode(file.content().removeprefix(b"\xef\xbb\xbf"), type=list[_Task])
        except msgspec.DecodeError as error:
            raise Refusal(f"This looks like tasks of Label Studio, but it can't be read ({error}).") from error
        kinds = {
            result.type for task in tasks for made in task.annotations + task.completions for result in made.result
        }
        if kinds and "choices" not in kinds:
            raise Refusal(
                f"This looks like a Label Studio file with {', '.join(sorted(kinds))} but without choices.",
                "Only labels of whole images are imported.",
            )
        key = _image_key(tasks)
        headers = (_IMAGE, _LABEL, "unsure", _SKIPPED, _ANNOTATOR, _TIME)
        roles = {
            _IMAGE: "image", _LABEL: "label", "unsure": "unsure", _SKIPPED: "skipped", _ANNOTATOR: "annotator",
            _TIME: "time",
        }  # fmt: skip

        def read() -> Iterator[tuple[int, list[Any]]]:
            for number, task in enumerate(tasks, 1):
                yield from ((number, [task.data.get(key), *_decision(made)]) for made in _annotations(task))

        return Rows(headers, read, roles)


def _annotations(task: _Task) -> Sequence[_Annotation]:
    return [*task.annotations, *task.completions] or [_Annotation()]


def _decision(made: _Annotation) -> list[Any]:
    """Return the label, whether it is unsure and skipped, the annotator and the time."""
    choices = [
        choice
        for result in made.result
        if result.type == "choices"
        for choice in result.value.get("choices", ())
        if isinstance(choice, str)
    ]
    by = made.completed_by
    annotator = (by.get("email") or by.get("id")) if isinstance(by, dict) else by
    is_single = len(choices) == 1
    return [choices[0] if is_single else "", len(choices) > 1, made.was_cancelled, annotator, made.updated_at]


def _image_key(tasks: Sequence[_Task]) -> str:
    """Return the name under which the tasks have their image: ``path``, ``image``, or the first that is like a path."""
    data = tasks[0].data if tasks else {}
    if key := next((name for name in ("path", "image") if name in data), None):
        return key  # our own exports have the path, others the image
    paths = [name for name, value in data.items() if isinstance(value, str) and "." in value.rpartition("/")[2]]
    if not paths:
        raise Refusal(
            "This looks like tasks of Label Studio, but none has an image.", "Export the tasks with their data."
        )
    return paths[0]
