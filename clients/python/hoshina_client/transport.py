"""Send requests to a server: repeat them after lost connections, wait as it says, and raise what it refuses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from hoshina_client.errors import HoshinaError, Refused, Unreachable

# Attempts after the first one, and the seconds before the first of them, which double each time.
RETRIES = 5
FIRST_DELAY = 0.25
# The longest that a request waits because the server said so, in seconds.
LONGEST_WAIT = 120.0
_BUSY = (502, 503, 504)
_LOCAL = ("127.0.0.1", "::1", "localhost")

# Returns the parts of a multipart body: the fields, and the files by name.
Files = dict[str, Path]


class Transport:
    """Represent a connection to one server. It sends the token to no other."""

    def __init__(
        self, url: str, token: str, *, timeout: float = 60.0, retries: int = RETRIES, verify: Any = True
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise HoshinaError(f"{url!r} is not the address of a server.", "It begins with http:// or https://.")
        self.url = url if url.endswith("/") else f"{url}/"
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._retries = retries
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout, connect=10.0),
            verify=verify,
            trust_env=parts.hostname not in _LOCAL,  # no proxy reaches this machine
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, /, **params: Any) -> Any:
        """Return the JSON of an address below ``/api/v1/``. Parameters that are None are left out."""
        wanted = {name: value for name, value in params.items() if value is not None}
        return self._json(self._send("GET", self._api(path), params=wanted))

    def post(self, path: str, body: Any = None, *, is_repeatable: bool = True, patience: float = LONGEST_WAIT) -> Any:
        """Send JSON, and return the JSON of the answer. Requests that are not repeatable are sent once only.

        While the server answers that it still computes (status 202 with ``Retry-After``), the request is sent again,
        for ``patience`` seconds at most.
        """
        body = {} if body is None else body
        deadline = time.monotonic() + patience
        while True:
            response = self._send("POST", self._api(path), json=body, is_repeatable=is_repeatable)
            answer = self._json(response)
            if response.status_code != 202 or set(answer) != {"detail"}:
                return answer
            if time.monotonic() > deadline:
                hint = "Send the request again later: the server continues to compute."
                raise HoshinaError(f"No answer after {patience:g} s. {answer['detail']}", hint)
            time.sleep(_seconds(response, 1.0))

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        """Change what is at an address, and return the JSON of the answer."""
        return self._json(self._send("PATCH", self._api(path), json=body))

    def get_patiently(self, path: str, /, **params: Any) -> Any:
        """Return the JSON of an address that may have to compute its answer first."""
        deadline = time.monotonic() + LONGEST_WAIT
        while True:
            response = self._send("GET", self._api(path), params=params)
            if response.status_code != 202:
                return self._json(response)
            if time.monotonic() > deadline:
                raise HoshinaError(f"No answer after {LONGEST_WAIT:g} s.", "Send the request again later.")
            time.sleep(_seconds(response, 1.0))

    def upload(self, path: str, files: Files, fields: dict[str, Any]) -> Any:
        """Send files and fields as a form, and return the JSON of the answer."""
        texts = {name: _text(value) for name, value in fields.items() if value is not None}

        def attempt() -> httpx.Response:
            with ExitStack() as stack:
                parts = {name: (file.name, stack.enter_context(file.open("rb"))) for name, file in files.items()}
                # The server may take long to check a large file.
                return self._client.post(self._api(path), data=texts, files=parts, timeout=600.0)

        return self._json(self._retried(attempt, is_repeatable=True))

    def content(self, address: str) -> bytes:
        """Return the bytes of an address that the server gave, such as a thumbnail."""
        response = self._send("GET", self._origin + "/" + address.lstrip("/"))
        return response.content

    @contextmanager
    def stream(self, path: str, params: dict[str, Any]) -> Iterator[Iterator[bytes]]:
        """Provide the content of an address in pieces."""
        try:
            with self._client.stream("GET", self._api(path), params=params, timeout=600.0) as response:
                if response.status_code >= 400:
                    response.read()
                    raise refusal_of(response)
                yield response.iter_bytes()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _api(self, path: str) -> str:
        return f"{self.url}api/v1/{path}"

    def _send(self, method: str, url: str, *, is_repeatable: bool = True, **options: Any) -> httpx.Response:
        return self._retried(lambda: self._client.request(method, url, **options), is_repeatable=is_repeatable)

    def _retried(self, attempt: Callable[[], httpx.Response], *, is_repeatable: bool) -> httpx.Response:
        delay, waited, n_failed = FIRST_DELAY, 0.0, 0
        while True:
            pause = delay * random.uniform(0.75, 1.25)
            try:
                response = attempt()
            except httpx.TransportError as error:
                never_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
                if n_failed >= self._retries or not (is_repeatable or never_sent):
                    raise self._unreachable(error) from error
            else:
                if response.status_code == 429:
                    pause = _seconds(response, delay)
                    waited += pause
                    if waited > LONGEST_WAIT:
                        raise refusal_of(response)
                    time.sleep(pause)
                    continue
                if response.status_code not in _BUSY or n_failed >= self._retries or not is_repeatable:
                    if response.status_code >= 400:
                        raise refusal_of(response)
                    return response
                pause = _seconds(response, pause)
            n_failed += 1
            delay *= 2
            time.sleep(pause)

    def _json(self, response: httpx.Response) -> Any:
        if response.status_code == 204:
            return None
        try:
            return response.json()
        except ValueError as error:
            hint = "Check the address: it is that of the first page."
            raise Unreachable(f"{self.url} does not answer like HOSHINA.", hint) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        why = str(error) or type(error).__name__
        return Unreachable(f"{self.url} does not answer ({why}).", "Check that the server runs and the address.")


def refusal_of(response: httpx.Response) -> Refused:
    """Return the error that an answer describes. Conflicts of decisions have their ``body``."""
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    message = str(problem.get("detail") or f"The server answered {response.status_code} {response.reason_phrase}.")
    refused = Refused(
        message, str(problem.get("hint", "")), status=response.status_code, field=str(problem.get("field", ""))
    )
    refused.body = problem
    return refused


def _seconds(response: httpx.Response, usual: float) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT) if text.isdigit() else usual


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
