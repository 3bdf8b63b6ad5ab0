"""Write the card of a dataset for Hugging Face: README.md with its features and splits as YAML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from labeling.exporting.contents import Contents

# Hugging Face's categories of size, by their upper limits.
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
# Hugging Face's names of licenses.
_LICENSES = {
    "mit": "mit", "apache-2.0": "apache-2.0", "cc0-1.0": "cc0-1.0", "cc0": "cc0-1.0", "cc by 4.0": "cc-by-4.0",
    "cc-by-4.0": "cc-by-4.0", "cc by-sa 4.0": "cc-by-sa-4.0", "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc by-nc 4.0": "cc-by-nc-4.0", "cc-by-nc-4.0": "cc-by-nc-4.0",
}  # fmt: skip


@dataclass
class Split:
    """Count what was written of a split."""

    name: str
    items: int = 0
    bytes: int = 0
    download_bytes: int = 0


def dataset_card(contents: Contents, splits: Sequence[Split]) -> str:
    """Return the card."""
    dataset = contents.dataset
    lines = ["---", f"pretty_name: {_quoted(dataset.name)}", *_license(dataset.license)]
    lines += ["task_categories:", "- image-classification", "size_categories:", f"- {_size(splits)}"]
    lines += ["configs:", "- config_name: default", "  data_files:"]
    for split in splits:
        lines += [f"  - split: {split.name}", f"    path: data/{split.name}-*"]
    lines += ["dataset_info:", "  features:", "  - name: image", "    dtype: image", *_classes(contents)]
    for name, dtype in (("item_id", "int64"), ("path", "string"), ("sha256", "string")):
        lines += [f"  - name: {name}", f"    dtype: {dtype}"]
    lines += ["  splits:"]
    for split in splits:
        lines += [f"  - name: {split.name}", f"    num_bytes: {split.bytes}", f"    num_examples: {split.items}"]
    lines += [f"  download_size: {sum(split.download_bytes for split in splits)}"]
    lines += [f"  dataset_size: {sum(split.bytes for split in splits)}", "---", "", contents.card()]
    return "\n".join(lines)


def _classes(contents: Contents) -> list[str]:
    lines = ["  - name: label", "    dtype:", "      class_label:", "        names:"]
    return lines + [f"          '{label.number}': {_quoted(label.name)}" for label in contents.labels]


def _license(name: str) -> list[str]:
    if not name:
        return []
    identifier = _LICENSES.get(name.strip().lower())
    return [f"license: {identifier}"] if identifier else ["license: other", f"license_name: {_quoted(name)}"]


def _size(splits: Sequence[Split]) -> str:
    n = sum(split.items for split in splits)
    return next((name for limit, name in _SIZES if n < limit), "n>10M")


def _quoted(text: str) -> str:
    """Return a string of YAML: as in JSON, but with escapes only for what can't be printed."""
    return "".join(
        character if character.isprintable() else f"\\U{ord(character):08X}"
        for character in json.dumps(text, ensure_ascii=False)
    )
