"""Read the classifications of Zooniverse: the votes of many people about each subject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from hoshina.core.errors import Refusal
from labeling.importing.formats.base import File, Importer, Rows
from labeling.importing.formats.delimited import Delimited

_NEEDED = ("annotations", "subject_data", "subject_ids")
# Names of the metadata that has the file of a subject, in lower case, in order of preference.
_FILE_NAMES = ("filename", "file_name", "image", "image_name", "image_1", "file", "path", "#filename", "name")


class Zooniverse(Importer):
    """Read classifications as votes. The answer of most people is the label; a tie is unsure."""

    name = "zooniverse"
    title = "Zooniverse classifications"
    sentence = (
        "Answers to the question answered most often, counted by subject: the top one is the label, a tie is unsure. "
        "Votes and their share become metadata fields."
    )
    order = 20

    def recognizes(self, file: File) -> bool:
        """Return whether the first line has the columns of Zooniverse."""
        first = file.text.split("\n", 1)[0]
        return all(name in first for name in _NEEDED)

    def rows(self, file: File) -> Rows:
        """Count the votes of each subject."""
        votes = _votes(Delimited().rows(file))
        if not votes:
            raise Refusal(
                "This looks like classifications of Zooniverse, but there is no answer to a question.",
                "Only questions with one answer are imported, and subjects need a file name in their metadata.",
            )

        def read() -> Iterator[tuple[int, list[Any]]]:
            for number, (image, answers) in enumerate(votes.items(), 1):
                (label, most), *others = answers.most_common(2)
                is_tie = bool(others) and others[0][1] == most
                total = answers.total()
                yield number, [image, "" if is_tie else label, is_tie, most / total, total]

        headers = ("file", "label", "unsure", "confidence", "votes")
        return Rows(headers, read, {"label": "label", "unsure": "unsure", "votes": "field"})


def _votes(table: Rows) -> dict[str, Counter[str]]:
    """Return the answers by image to the question that was answered most often, the first one if there are several."""
    places = {name: table.headers.index(name) for name in _NEEDED}
    tasks: dict[str, dict[str, Counter[str]]] = {}
    for number, row in table.read():
        values = list(row)
        answers = _document(values[places["annotations"]], number, list[dict[str, Any]])
        subjects = _document(values[places["subject_data"]], number, dict[str, dict[str, Any]])
        image = next(filter(None, map(_file_of, subjects.values())), "")
        for answer in answers:
            if image and isinstance(answer.get("value"), str):
                task = tasks.setdefault(str(answer.get("task", "")), {})
                task.setdefault(image, Counter())[answer["value"]] += 1
    totals = {name: sum(counts.total() for counts in votes.values()) for name, votes in tasks.items()}
    return tasks[max(totals, key=lambda name: totals[name])] if totals else {}


def _document(text: str, number: int, kind: Any) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise Refusal(
            f"This looks like classifications of Zooniverse, but line {number} has a cell that is not JSON ({error}).",
            "Download the data export again, and do not save it with a spreadsheet.",
        ) from error


def _file_of(subject: Mapping[str, Any]) -> str:
    lower = {name.lower(): value for name, value in subject.items()}
    return next((str(lower[name]) for name in _FILE_NAMES if lower.get(name)), "")
