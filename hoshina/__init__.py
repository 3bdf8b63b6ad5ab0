"""Take a folder of images to labels, a calibrated model and an export."""

from __future__ import annotations

from typing import Any


def connect(*arguments: Any, **options: Any) -> Any:
    """Connect to a running server by the Python client: ``hoshina_client.connect``, which has the parameters.

    Raises ModuleNotFoundError if the client, a package of its own, is not installed.
    """
    try:
        import hoshina_client
    except ModuleNotFoundError as error:
        message = "The Python client is not installed: pip install ./clients/python in a checkout of HOSHINA."
        raise ModuleNotFoundError(message, name="hoshina_client") from error
    return hoshina_client.connect(*arguments, **options)
