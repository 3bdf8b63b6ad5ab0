"""Request /healthz from a server on this machine (``python -m hoshina.health``); exit with 0 if it is healthy.

For container health checks and for ``up``; needs nothing but Python.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from typing import Any


def ask(host: str, port: int, *, allowed: str = "localhost", timeout: float = 3.0) -> tuple[int, dict[str, Any]]:
    """Request /healthz with ``allowed`` as host name. Return status and content. Raises OSError or HTTPException."""
    nearby = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    connection = http.client.HTTPConnection(nearby, port, timeout=timeout)
    try:
        connection.request("GET", "/healthz", headers={"Host": allowed, "X-Forwarded-Proto": "https"})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    try:
        return response.status, dict(json.loads(content))
    except ValueError:
        return response.status, {}


def allowed_host(hosts: list[str]) -> str:
    """Return a host name that a server with these ALLOWED_HOSTS accepts."""
    first = hosts[0].strip() if hosts else ""
    return "localhost" if first in {"", "*"} else first.lstrip(".")


def main() -> int:
    """Request /healthz. Return the exit status."""
    host = os.environ.get("AL_HOST", "") or "127.0.0.1"
    port = int(os.environ.get("AL_PORT", "") or 8000)
    try:
        status, content = ask(host, port, allowed=allowed_host(os.environ.get("AL_ALLOWED_HOSTS", "").split(",")))
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"No answer from {host}:{port}: {error}\n")
        return 1
    sys.stdout.write(f"{status} {json.dumps(content)}\n")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
