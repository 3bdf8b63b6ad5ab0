"""Write the data card of an export: what the dataset is, and how its labels were chosen, made and checked.

The card is made from the facts of the manifest alone, so that it says nothing that a program can't check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hoshina.core.plural import counted
from labeling.exporting.small_classes import split_warnings
from labeling.exporting.splits import SPLITS

Facts = Mapping[str, Any]
_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|])")
_QUEUES = {
    "none": "no queue recorded", "": "no queue recorded", "import": "imported labels", "opened": "opened one by one",
    "confirmation": "confirmed after the file changed", "split": "a class was split, and nobody looked at the image",
}  # fmt: skip


def data_card(facts: Facts) -> str:
    """Return the card in Markdown."""
    parts = (
        _about, _classes, _counts, _selection, _labeling, _checking, _accuracy, _display, _model, _limits, _origin,
    )  # fmt: skip
    return "\n\n".join(part for write in parts if (part := write(facts))) + "\n"


# -- Text -------------------------------------------------------------------------------------------
def _text(value: object) -> str:
    """Return a text on one line whose characters are not taken for Markdown."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    return "\n".join(lines + [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows])


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else _text(value)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


# -- Parts ------------------------------------------------------------------------------------------
def _about(facts: Facts) -> str:
    dataset = facts["dataset"]
    lines = [f"# {_text(dataset['name'])}", dataset["description"] or "The dataset has no description."]
    if past := facts.get("as_of"):
        lines.append(f"This is the dataset as of {past['until']}.")
    terms = [("License", dataset["license"]), ("Citation", dataset["citation"])]
    lines += [f"**{title}.** {text}" if text else f"**{title}.** Not stated." for title, text in terms]
    return "\n\n".join(lines)


def _classes(facts: Facts) -> str:
    guides = {guide["class"]: guide for guide in facts.get("class_guide", ())}
    names = sorted({name for split in facts["splits"].values() for name in split["classes"]} | guides.keys())
    return "\n\n".join(["## Classes", *(_class(name, guides.get(name)) for name in names)]) if names else ""


def _class(name: str, guide: Mapping[str, Any] | None) -> str:
    lines = [f"### {_text(name)}", (guide or {}).get("description") or "Nobody has described this class."]
    if guide and guide["examples"]:
        lines.append(f"Examples: {', '.join(map(_text, guide['examples']))}.")
    for other in guide["not_to_be_confused_with"] if guide else ():
        difference = f": {_text(other['difference'])}" if other["difference"] else ""
        lines.append(f"Not to be confused with {_text(other['class'])}{difference}")
    return "\n\n".join(lines)


def _counts(facts: Facts) -> str:
    counts, splits = facts["counts"], facts["splits"]
    sentence = (
        f"Of {counted(counts['items'], 'image')}, {counts['labelled']:,} have a label, {counts['unsure']:,} are marked "
        f"unsure and {counts['skipped']:,} skipped; nobody decided on {counts['undecided']:,}."
    )
    if counts["missing"]:
        sentence += f" The files of {counted(counts['missing'], 'image')} were missing at the last scan."
    names = sorted({name for split in splits.values() for name in split["classes"]})
    rows = [[name, *(splits[split]["classes"].get(name, 0) for split in SPLITS)] for name in names]
    rows.append(["all", *(splits[split]["items"] for split in SPLITS)])
    seed, group = facts["options"]["seed"], facts["options"]["group_by"]
    how = f"Splits are stratified by class, with the seed {seed}. Identical files share a split" + (
        f", and so do images with the same {_text(group)}." if group else "."
    )
    numbers = {name: row for name, *row in rows[:-1]}
    shares = [splits[split]["items"] for split in SPLITS]
    warnings = [_text(warning) for warning in split_warnings(numbers, shares)]
    return "\n\n".join(["## Images", sentence, _table(("class", *SPLITS), rows), how, *warnings])


def _selection(facts: Facts) -> str:
    """Describe how the images to label were chosen."""
    queues: Mapping[str, int] = facts.get("queues", {})
    if not queues:
        return ""
    total = sum(queues.values())
    rows = [(_QUEUES.get(name, name), n, _percent(n / total)) for name, n in queues.items()]
    draws = facts.get("random_draws")
    lines = ["## How the images were chosen", "Queues from which the current decisions were made:"]
    lines.append(_table(("queue", "decisions", "share"), rows))
    if draws and draws["labeled"]:
        lines.append(
            f"{counted(draws['labeled'], 'labeled image was', 'labeled images were')} drawn uniformly and randomly "
            f"from all images without a label; {counted(draws['undecided'], 'other', 'others')} have no class."
        )
    else:
        lines.append("No image was drawn randomly from all others, so the labels are no random sample of the images.")
    return "\n\n".join(lines)


def _labeling(facts: Facts) -> str:
    people = facts["annotators"]
    if not people:
        return ""
    rows = [(person["name"] or "someone without an account", person["decisions"]) for person in people]
    lines = ["## Who labeled", _table(("person", "decisions"), rows)]
    review = facts["review"]
    if n := review["suggestion_visible"]:
        share = _percent(review["suggestion_accepted"] / n)
        lines.append(
            f"For {counted(n, 'decision')} a suggestion of the model was visible, and {share} of them agree with it. "
            "People who see a suggestion tend to follow it."
        )
    else:
        lines.append("No suggestion of a model is recorded as visible.")
    return "\n\n".join(lines)


def _checking(facts: Facts) -> str:
    review, checks = facts["review"], facts.get("checks")
    if not review["decisions"]:
        return ""
    lines = [
        f"{counted(review['decisions'], 'decision')} are recorded, of which {review['by_hand']:,} were made by hand "
        f"and still hold; {review['undone']:,} were undone.",
        f"{counted(review['relabeled_images'], 'image')} got different classes one after the other.",
        f"{counted(review['images_of_several_people'], 'image was', 'images were')} labeled by several people, who "
        f"disagreed on {review['disputed_images']:,}.",
    ]
    if checks and checks["decided"]:
        low, high = checks["interval"]
        lines.append(
            f"Of {counted(checks['decided'], 'hidden check')} of labels accepted by the page, {checks['wrong']:,} were "
            f"wrong: {_percent(checks['share_wrong'])} of such labels "
            f"(95 % interval {_percent(low)} to {_percent(high)})."
        )
    return "\n\n".join(["## How the labels were checked", _list(lines)])


def _accuracy(facts: Facts) -> str:
    audited = facts.get("audited_accuracy")
    if not audited:
        return ""
    low, high = audited["interval"]
    recalls = [(recall["class"], _percent(recall["recall"])) for recall in audited["recall"]]
    lines = [
        "## Audited accuracy",
        f"Model {audited['model_version']} is right on {_percent(audited['accuracy'])} of the {audited['items']:,} "
        f"images (95 % interval {_percent(low)} to {_percent(high)}), estimated from "
        f"{counted(audited['audit_labels'], 'label')} of randomly drawn images, each compared with "
        "a prediction of a model that was not trained on it. This is the accuracy of the model, and no bound on "
        "errors of the labels.",
    ]
    return "\n\n".join([*lines, _table(("class", "recall"), recalls)] if recalls else lines)


def _display(facts: Facts) -> str:
    others = [(entry["rendering"], entry["decisions"]) for entry in facts["renderings"] if entry["rendering"]]
    own = facts["rendering"]
    lines = ["## How the images were displayed"]
    settings = ", ".join(f"{_text(name)}: {_text(value)}" for name, value in sorted(own.items()))
    lines.append(
        f"With the settings {settings}." if own else "As the files are, without a stretch or other adjustment."
    )
    if others:
        lines += ["Other displays, chosen by people:", _table(("display", "decisions"), others)]
    return "\n\n".join(lines)


def _model(facts: Facts) -> str:
    encoder, model = facts.get("encoder"), facts.get("model")
    if not encoder and not model:
        return ""
    lines = ["## Models"]
    if encoder:
        lines.append(f"Queues compared images by the encoder {_text(encoder['name'])} ({encoder['fingerprint'][:12]}).")
    if model:
        lines.append(f"Model {model['version']} is in use, trained on {counted(model['labels'], 'label')}.")
    return "\n\n".join(lines)


def _limits(facts: Facts) -> str:
    return "\n\n".join(["## Known limits", _list(sentence for limit in _LIMITS if (sentence := limit(facts)))])


def _origin(facts: Facts) -> str:
    app = facts["app"]
    return f"## About this card\n\nWritten by HOSHINA {app['version']} from the facts in manifest.json."


# -- Limits -----------------------------------------------------------------------------------------
def _no_sample(facts: Facts) -> str:
    if facts["counts"]["undecided"]:
        return "Images were selected for labeling: the shares of the classes here are not those of all images."
    return ""


def _few(facts: Facts) -> str:
    totals: dict[str, int] = {}
    for split in facts["splits"].values():
        for name, n in split["classes"].items():
            totals[name] = totals.get(name, 0) + n
    few = sorted(name for name, n in totals.items() if n < 30)
    return f"Fewer than 30 images have the class {', '.join(map(_text, few[:20]))}." if few else ""


def _no_double(facts: Facts) -> str:
    review = facts["review"]
    if review["images_of_several_people"]:
        return ""
    return "No image was labeled by several people, so the agreement between people is unknown."


def _unsure(facts: Facts) -> str:
    counts = facts["counts"]
    n = counts["unsure"] + counts["skipped"]
    if not n or facts["options"].get("unsure"):
        return ""
    return (
        f"{counted(n, 'image')} marked unsure or skipped have no class: hard images are missing among the labeled ones."
    )


def _no_audit(facts: Facts) -> str:
    return "" if facts.get("audited_accuracy") else "No accuracy was measured on randomly drawn images."


def _near_duplicates(facts: Facts) -> str:
    return "Identical files share a split; near-duplicates do so only if they have the same group key."


def _not_rebuilt(facts: Facts) -> str:
    return " ".join(facts["as_of"]["not_rebuilt"]) if "as_of" in facts else ""


_LIMITS: tuple[Callable[[Facts], str], ...] = (
    _no_sample, _few, _no_double, _unsure, _no_audit, _near_duplicates, _not_rebuilt,
)  # fmt: skip
