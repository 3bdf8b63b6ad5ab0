"""Format log lines, name the request that they belong to, and keep repetitions out."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

request_id: ContextVar[str] = ContextVar("request_id", default="")
access_log = logging.getLogger("hoshina.access")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
REPEAT_SECONDS = 60.0
# Causes that are remembered; the oldest are forgotten.
_CAUSES = 1000


class RepetitionFilter(logging.Filter):
    """Let one line of each cause pass in a minute; the next one says how many were left out.

    A cause is the logger, the level, the message before its values are filled in, and the class of the exception.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._seen: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == access_log.name:
            return True
        error = record.exc_info[0] if record.exc_info else None
        cause = (record.name, record.levelno, str(record.msg), error)
        now = time.monotonic()
        with self._lock:
            last, n_left_out = self._seen.get(cause, (float("-inf"), 0))
            if now - last < REPEAT_SECONDS:
                self._seen[cause] = (last, n_left_out + 1)
                return False
            self._seen.pop(cause, None)
            self._seen[cause] = (now, 0)
            if len(self._seen) > _CAUSES:
                del self._seen[next(iter(self._seen))]
        record.n_left_out = n_left_out
        return True


class TracebackFilter(logging.Filter):
    """Leave the traceback out of records whose message says everything."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True


class LineFormatter(logging.Formatter):
    """Format a record's message as one line for people, with the request's id and the number of lines left out.

    Control characters are escaped: the name of a file or of a person could otherwise forge lines. Tracebacks follow as
    they are, so that they can be read.
    """

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name}: {message}", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = _CONTROL.sub(_escaped, super().formatMessage(record))
        if n := getattr(record, "n_left_out", 0):
            line += f" ({n} more like this since the last line)"
        if identity := request_id.get():
            line += f" [{identity}]"
        return line


def _escaped(found: re.Match[str]) -> str:
    """Return a control character as it is written in JSON."""
    return json.dumps(found[0])[1:-1]


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON object in a line."""

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if n := getattr(record, "n_left_out", 0):
            content["left_out"] = n
        if identity := request_id.get():
            content["request_id"] = identity
        content |= getattr(record, "facts", {})
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        # Some control characters that JSON allows end a line for some programs.
        return _CONTROL.sub(_escaped, json.dumps(content, ensure_ascii=False, default=str))


def request_id_middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Give every request an id, or use that of the proxy (X-Request-ID); log the request if AL_ACCESS_LOG is set."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        from_proxy = request.headers.get("X-Request-ID", "")
        identity = from_proxy if _REQUEST_ID.fullmatch(from_proxy) else uuid.uuid4().hex[:16]
        token = request_id.set(identity)
        began = time.perf_counter()
        try:
            response = get_response(request)
            response.headers["X-Request-ID"] = identity
            if access_log.isEnabledFor(logging.INFO):
                _log_access(request, response, time.perf_counter() - began)
            return response
        finally:
            request_id.reset(token)

    return middleware


def _log_access(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    user = getattr(request, "user", None)
    facts = {
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "ms": round(seconds * 1000, 1),
        "user": user.get_username() if user is not None and user.is_authenticated else None,
    }
    text = "{method} {path} {status} {ms} ms {user}".format(**facts | {"path": ascii(request.path)[1:-1]})
    access_log.info("%s", text, extra={"facts": facts})
