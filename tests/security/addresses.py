"""Every address of the site, from the URL configuration."""

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

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
