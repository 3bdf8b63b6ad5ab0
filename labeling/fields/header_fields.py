"""Create fields from FITS header cards and EXIF data.

A job reads the headers of all files, and after each ingest those of new files. EXIF data appear as cards with the
names of :data:`labeling.images.exif.COMMENTS`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Case, Q, QuerySet, When

from hoshina.core.errors import Refusal
from hoshina.core.plural import counted
from hoshina.core.storage import remove_folder, writing
from hoshina.jobs.models import Job
from hoshina.jobs.runner import Run
from labeling.display.frame_file import inside
from labeling.fields.column_writer import Filling, laid_over
from labeling.fields.columns import Column, Stamps, column_of, save_column, stamps_of, unknown_values
from labeling.fields.metadata_table import MAX_NAME
from labeling.fields.parse_values import Guess
from labeling.fields.save_table import CSV, Filled, make_field, refuse_too_many
from labeling.images import exif
from labeling.images.decoder_pool import decoders
from labeling.images.problems import ImageProblem
from labeling.ingest.bulk_sql import next_row
from labeling.models import Dataset, Field, Frame

KIND = "read_cards"
SAMPLE = 12
# Rows of a share: at most these are read twice if a worker dies.
SHARE = 1000
_EXAMPLES = 3
# Formats whose files have a header to read: cards of FITS, EXIF of the others.
FORMATS = ("FITS", "JPEG", "TIFF", "PNG", "WEBP", "HEIF", "AVIF")
# Cards that only describe the header's own array or file.
_STRUCTURE = {
    "", "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "NAXIS4", "EXTEND", "PCOUNT", "GCOUNT", "XTENSION",
    "COMMENT", "HISTORY", "END", "CHECKSUM", "DATASUM", "LONGSTRN", "CONTINUE", "BZERO", "BSCALE",
}  # fmt: skip
# Cards that people most often want as fields, in this order.
_WANTED = (
    "OBJECT", "FILTER", "EXPTIME", "DATE-OBS", "MJD-OBS", "MJD", "AIRMASS", "SEEING", "TELESCOP", "INSTRUME",
)  # fmt: skip
# Cards of the world coordinate system: the position is shown in other places, and few want its numbers as fields.
_WCS = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)\d+[A-Z]?|(CD|PC|PV|PS)\d+_\d+[A-Z]?|(WCSAXES|LONPOLE|LATPOLE)[A-Z]?"
    r"|(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)"
)


# -- Cards to choose from -----------------------------------------------------------------------------------
@dataclass
class Offer:
    """A card found in a sample of the files: the number of files with it, its comment, and some of its values."""

    name: str
    comment: str
    n: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """The cards of a sample of the files, ``n_read`` of ``n_files`` of which have any."""

    n_files: int
    n_read: int
    offers: list[Offer]


def sample_of(dataset: Dataset) -> Sample:
    """Read the headers of a dozen files. Often wanted cards come first, then frequent ones that vary. O(1)."""
    step = max(1, dataset.n_items // SAMPLE)
    rows = range(0, dataset.n_items, step)[:SAMPLE]
    some: dict[int, Frame] = {}
    for frame in _in_order(Frame.objects.filter(item__dataset=dataset, item__row__in=rows), dataset.roles):
        some.setdefault(frame.item_id, frame)  # the first of several frames
    offers: dict[str, Offer] = {}
    n_read = 0
    for frame in some.values():
        frame.dataset = dataset
        if frame.format not in FORMATS:
            continue
        try:
            cards = decoders().header(inside(frame), dataset.shown_as, with_sky=False).cards
        except (ImageProblem, OSError):  # the Problems page tells about it
            continue
        if not cards:
            continue
        n_read += 1
        first = {card.name: card for card in reversed(cards) if card.name.upper() not in _STRUCTURE}
        for card in first.values():
            offer = offers.setdefault(card.name, Offer(card.name, card.comment))
            offer.n += 1
            if card.value and card.value not in offer.examples and len(offer.examples) < _EXAMPLES:
                offer.examples.append(card.value)
    usable = [offer for offer in offers.values() if offer.examples and len(offer.name) <= MAX_NAME]
    return Sample(len(some), n_read, sorted(usable, key=_place))


def _place(offer: Offer) -> tuple[int, int, int, str]:
    """Return what the cards are sorted by: wanted ones, others, those of the WCS."""
    if offer.name in _WANTED:
        return -1, _WANTED.index(offer.name), 0, ""
    return int(_WCS.fullmatch(offer.name) is not None), -offer.n, -len(offer.examples), offer.name


def check_cards(dataset: Dataset, cards: Iterable[str]) -> list[str]:
    """Return the distinct names of cards as in headers: FITS in upper case, EXIF like DateTimeOriginal.

    Raises Refusal if there are none or too many, or a field from another source has the same name.
    """
    names = list(dict.fromkeys(_tidy(card) for card in cards if card.strip()))
    if not names:
        raise Refusal("Choose at least one card.")
    fields = {field.name.lower(): field for field in Field.objects.filter(dataset=dataset)}
    sources = {field.source for field in fields.values()}
    for name in names:
        if len(name) > MAX_NAME:
            raise Refusal(f"A card's name has at most {MAX_NAME} characters.")
        there = fields.get(name.lower())
        if there is not None and name not in sources:
            raise Refusal(f"There is already a field {there.name} from another source. Rename or delete it first.")
    refuse_too_many(len(fields), len([name for name in names if name not in sources]))
    return names


def _tidy(card: str) -> str:
    """Return a card's name as in its header; in upper case it is a FITS card, even if EXIF has it too (MODEL)."""
    name = " ".join(card.split())
    return name if name.isupper() else exif.name_of(name) or name.upper()


def card_fields(dataset: Dataset) -> list[Field]:
    """Return the fields that are read from headers."""
    return list(Field.objects.filter(dataset=dataset).exclude(source=CSV))


def has_work(dataset: Dataset) -> bool:
    """Return whether there are files whose cards were not read yet."""
    stamps = [stamps_of(field) for field in card_fields(dataset)]
    return bool(stamps) and any(_is_stale(row, stamp, stamps) for row, stamp, _ in _files(dataset, 0))


# -- The job --------------------------------------------------------------------------------------------------
@dataclass
class _Target:
    """A card to read: its field, if it exists, and which file each row was read from."""

    card: str
    field: Field | None
    stamps: Stamps


def read_cards(dataset: Dataset, run: Run, cards: Sequence[str]) -> dict[str, Any]:
    """Create fields from ``cards``, and update all fields of cards from new and changed files.

    Values are saved in shares, so that a second run continues where a killed one stopped. Files that can't be read have
    no values. Values that are not of the field's kind are unknown, and counted.

    Raises Refusal if a field cannot be created.
    """
    names = check_cards(dataset, cards) if cards else []
    targets = _targets(dataset, names)
    folder = _folder(run)
    _forget_others(folder)
    n_failed = _read_shares(dataset, run, targets, folder) if targets else 0
    run.stage("Creating the fields")
    result = _save(dataset, targets, folder)
    remove_folder(folder)
    return {**result, "failed": n_failed}


def _targets(dataset: Dataset, names: Sequence[str]) -> list[_Target]:
    there = card_fields(dataset)
    sources = {field.source for field in there}
    old = [_Target(field.source, field, stamps_of(field)) for field in there]
    return old + [_Target(name, None, np.empty(0, np.uint64)) for name in names if name not in sources]


def _read_shares(dataset: Dataset, run: Run, targets: Sequence[_Target], folder: Path) -> int:
    """Write a share for each range of rows with unread files. Return the number of files that can't be read."""
    run.stage("Reading the headers", total=dataset.n_items)
    names = [target.card for target in targets]
    failed = 0
    for start in range(0, next_row(dataset), SHARE):
        file = folder / f"{start}.json"
        share = json.loads(file.read_bytes()) if file.exists() else None
        if share is None or share["cards"] != names:
            share = _read_share(dataset, run, targets, start)
            if share["rows"]:
                with writing(file) as stream:
                    stream.write(json.dumps(share).encode())
        failed += share["failed"]
        run.progress(min(start + SHARE, dataset.n_items))
    return failed


def _read_share(dataset: Dataset, run: Run, targets: Sequence[_Target], start: int) -> dict[str, Any]:
    names = [target.card for target in targets]
    stamps = [target.stamps for target in targets]
    stale = [file for file in _files(dataset, start, start + SHARE) if _is_stale(file[0], file[1], stamps)]
    files = [dataset.data_dir / path for _, _, path in stale]
    rows, failed = [], 0
    with closing(decoders().card_values(files, names, dataset.shown_as)) as results:
        for (row, stamp, _), values in zip(stale, results, strict=True):
            is_read = isinstance(values, list)
            failed += not is_read  # the Problems page tells about it
            rows.append((row, stamp, values if is_read else [""] * len(names)))
            run.progress(row)
    return {"cards": names, "rows": rows, "failed": failed}


def _files(dataset: Dataset, start: int, stop: int | None = None) -> Iterator[tuple[int, int, str]]:
    """Yield for each item row, stamp and path of the file whose header is used: a FITS file, else any with a header."""
    frames = Frame.objects.filter(item__dataset=dataset, format__in=FORMATS, item__is_available=True)
    last, before = next_row(dataset) if stop is None else stop, -1
    for low in range(start, last, SHARE):
        some = frames.filter(Q(item__row__gte=low) & Q(item__row__lt=min(low + SHARE, last)))
        for row, sha256, path in _in_order(some, dataset.roles).values_list("item__row", "sha256", "path"):
            if row != before:
                yield row, int(sha256[:16], 16) or 1, path
            before = row


def _in_order(frames: QuerySet[Frame], roles: Sequence[str]) -> QuerySet[Frame]:
    """Return the files by row; among the frames of an item, FITS files come first, in the order of the roles."""
    is_other = Case(When(format="FITS", then=0), default=1)
    places = [When(role=role, then=place) for place, role in enumerate(roles)]
    place = [Case(*places, default=len(places))] if places else []
    return frames.order_by("item__row", is_other, *place, "id")


def _is_stale(row: int, stamp: int, stamps: Sequence[Stamps]) -> bool:
    return any(row >= len(read) or int(read[row]) != stamp for read in stamps)


# -- From shares to columns ---------------------------------------------------------------------------------------
def _save(dataset: Dataset, targets: Sequence[_Target], folder: Path) -> dict[str, Any]:
    """Save all columns at once, or none."""
    guesses = [Guess() for _ in targets]
    n_files = 0
    for _, _, values in _rows(folder):
        n_files += 1
        for guess, value in zip(guesses, values, strict=True):
            guess.add(0, value)
    n_rows = next_row(dataset)
    fillings = [Filling(_kind(target, guess), n_rows) for target, guess in zip(targets, guesses, strict=True)]
    stamps = np.zeros(n_rows, np.uint64)
    for row, stamp, values in _rows(folder):
        stamps[row] = stamp
        for filling, value in zip(fillings, values, strict=True):
            filling.put(row, value)
    with transaction.atomic():
        Dataset.objects.select_for_update().get(pk=dataset.pk)
        made = []
        for target, filling, guess in zip(targets, fillings, guesses, strict=True):
            if target.field is not None:
                made += [_renew(target.field, filling, stamps)] if n_files else []
            elif guess.n_known:
                _refuse_taken(dataset, target.card)
                made.append(make_field(dataset, target.card, filling.draft(), target.card, stamps))
    without = [t.card for t, guess in zip(targets, guesses, strict=True) if t.field is None and not guess.n_known]
    unfit = Counter({t.card: filling.n_unfit for t, filling in zip(targets, fillings, strict=True)})
    return {"fields": msgspec.to_builtins(made), "files": n_files, "without": without, "unfit": dict(+unfit)}


def _kind(target: _Target, guess: Guess) -> Field.Kind:
    if target.field is not None:
        return Field.Kind(target.field.kind)
    return Field.Kind.TEXT if target.card in exif.TEXTS else Field.Kind(guess.kind)


def _rows(folder: Path) -> Iterator[tuple[int, int, list[str]]]:
    for file in sorted(folder.glob("*.json"), key=lambda file: int(file.stem)):
        yield from json.loads(file.read_bytes())["rows"]


def _refuse_taken(dataset: Dataset, card: str) -> None:
    if Field.objects.filter(dataset=dataset, name__iexact=card).exists():
        raise Refusal(f"Someone added a field {card} from another source. Rename or delete it first.")


def _renew(there: Field, filling: Filling, stamps: Stamps) -> Filled:
    """Save the newly read values of a field; values that a changed file no longer has become unknown."""
    there.refresh_from_db()
    column = column_of(there)
    read = stamps != 0
    base = unknown_values(column.kind, len(stamps))
    base[: len(column.values)] = column.values
    base[read] = unknown_values(column.kind, int(read.sum()))
    merged, n_changed = laid_over(Column(column.kind, base, column.vocabulary), filling.draft())
    older = stamps_of(there)
    joined = stamps.copy()
    joined[: len(older)] = np.where(read[: len(older)], stamps[: len(older)], older)
    save_column(there, merged, joined)
    return Filled(there.name, there.kind, there.n_known, n_changed, is_new=False)


def _folder(run: Run) -> Path:
    return Path(settings.STORE_DIR) / "fields" / "reading" / str(run.job.pk)


def _forget_others(folder: Path) -> None:
    """Delete parts of jobs that ended without using them."""
    if not folder.parent.is_dir():
        return
    active = {str(pk) for pk in Job.objects.filter(kind=KIND, state__in=Job.ACTIVE).values_list("pk", flat=True)}
    for other in folder.parent.iterdir():
        if other.name not in active:
            remove_folder(other)


def report_lines(result: dict[str, Any]) -> list[str]:
    """Describe what the job did, one line per fact."""
    lines = [
        f"{fact['name']} ({fact['kind']}): {fact['known']:,} known"
        + (", new" if fact["new"] else f", {fact['changed']:,} changed")
        for fact in result["fields"]
    ]
    lines.append(f"Headers read: {counted(result['files'], 'file')}.")
    if result["failed"]:
        lines.append(f"{result['failed']:,} could not be read; the Problems page says why.")
    if result["without"]:
        lines.append(f"No file has {', '.join(result['without'])}.")
    lines += [f"{name}: {counted(n, 'value')} of another kind, left unknown." for name, n in result["unfit"].items()]
    return lines
