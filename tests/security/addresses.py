"""Every address of the site, from the URL configuration."""

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver, reverse

from labeling.models import Dataset

# Values of parameters that exist in a dataset named "pictures".
VALUES = {
    "slug": "pictures", "path": "index", "uidb64": "MQ", "token": "x", "name": "report.json", "size": "256",
    "dataset_id": "1", "row": "0", "number": "1",
}  # fmt: skip


def addresses(patterns: list[Any] | None = None, namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Yield every named address of the site but those of the admin."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLPattern):
            assert pattern.name, f"{pattern} has no name."
            yield f"{namespace}{pattern.name}", pattern
        elif isinstance(pattern, URLResolver) and pattern.namespace != "admin":
            yield from addresses(pattern.url_patterns, f"{pattern.namespace}:" if pattern.namespace else namespace)


def path_of(name: str, pattern: URLPattern, dataset: Dataset) -> str:
    """Return the path of an address with values that exist in this dataset."""
    values: dict[str, Any] = {}
    for parameter, converter in pattern.pattern.converters.items():
        if parameter == "pk":
            is_uuid = "UUID" in type(converter).__name__
            values[parameter] = "0" * 8 + "-0000-4000-8000-" + "0" * 12 if is_uuid else dataset.classes.first().pk  # type: ignore[union-attr]
        elif parameter in ("item_id", "frame_id"):
            values[parameter] = dataset.items.order_by("row").first().pk  # type: ignore[union-attr]
        else:
            values[parameter] = dataset.pk if parameter == "dataset_id" else VALUES[parameter]
    return reverse(name, kwargs=values)


def paths(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield the name and the path of every address that a signed-in person may open, and pages that don't exist."""
    for name, pattern in addresses():
        if name not in ("local_sign_in", "first_sign_in", "logout"):
            yield name, path_of(name, pattern, dataset)
    yield from [("nowhere", "/nowhere/"), ("no dataset", "/d/nowhere/"), ("admin", "/admin/labeling/labelclass/")]
