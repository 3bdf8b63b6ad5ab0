"""Serve many clients with waitress: limits on what they send, how slowly, and how many connections they hold.

Waitress reads requests in one thread and passes them whole to a pool of threads, so idle and slow connections cost a
file descriptor each, but no thread. It has no limit on the time of a request and one limit on the size of bodies; this
module adds both (ADR 38).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from socket import socket
from typing import Any

from django.conf import settings
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer

from hoshina.core import upload_permit
from hoshina.core.problems import API

log = logging.getLogger(__name__)

# A body beyond this needs a permit (hoshina.core.upload_permit). A batch of labels of a thousand images has 300 KB.
USUAL_BODY = 1024 * 1024
LARGEST_BODY = 513 * 1024 * 1024
# Seconds until the header of a request has to be there, until its body has to be there, and for each further 100 KB.
HEADER_SECONDS, BODY_SECONDS, BYTES_PER_SECOND = 10.0, 30.0, 100_000
IDLE_SECONDS = 120
# Each connection needs a file descriptor. Windows cannot wait for more than 512 sockets at once.
CONNECTIONS = 480 if sys.platform == "win32" else 8000
# Beyond this share of them, those that are idle for longest are closed, so that others get in.
_CROWDED = 0.9
_CHECK_SECONDS = 2


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """A request that is being received, with the size that its body may have."""

    def __init__(self, adjustments: Adjustments) -> None:
        super().__init__(adjustments)
        self.adj: Adjustments = adjustments
        self.began_at = time.monotonic()

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        is_large = self.chunked or self.content_length > USUAL_BODY
        if is_large and not self._is_permitted():
            self.adj = _usual(self.adj)

    def _is_permitted(self) -> bool:
        if self.path.startswith(API) and upload_permit.is_token(self.headers.get("AUTHORIZATION", "")):
            return True
        return upload_permit.is_valid(self.query)

    def is_late(self, now: float) -> bool:
        """Return whether the client takes too long to send this request."""
        took = now - self.began_at
        if not self.headers_finished:
            return took > HEADER_SECONDS
        allowed = HEADER_SECONDS + BODY_SECONDS + self.body_bytes_received / BYTES_PER_SECOND
        return bool(took > allowed)


def _usual(adjustments: Adjustments) -> Adjustments:
    """Return the settings with the limit for bodies without a permit."""
    usual = Adjustments()
    usual.__dict__.update(adjustments.__dict__)
    usual.max_request_body_size = USUAL_BODY + 1
    return usual


class _Channel(HTTPChannel):  # type: ignore[misc]
    parser_class = _Parser


class Server(TcpWSGIServer):  # type: ignore[misc]
    """Waitress's server, which also closes the connections of slow clients."""

    channel_class = _Channel

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        clock = time.monotonic()
        for channel in self.active_channels.values():
            request = channel.request
            if request is not None and request.is_late(clock):
                channel.will_close = True
        self._make_room()

    def _make_room(self) -> None:
        """Close the connections that are idle for longest when nearly all are in use."""
        surplus = len(self.active_channels) - int(_CROWDED * self.adj.connection_limit)
        if surplus <= 0:
            return
        idle = [channel for channel in self.active_channels.values() if not channel.requests]
        for channel in sorted(idle, key=lambda channel: channel.last_activity)[:surplus]:
            channel.will_close = True
        log.warning("%s connections are open; closed %s idle ones.", len(self.active_channels), min(surplus, len(idle)))


def create_server(application: Callable[..., Any], listening: socket, *, threads: int) -> Server:
    """Return a server on a socket that listens; its ``run`` serves until SIGTERM or Ctrl-C."""
    adjustments = Adjustments(
        sockets=[listening],
        threads=threads,
        ident=None,
        connection_limit=min(CONNECTIONS, _allow_open_files(CONNECTIONS + 500) - 200),
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=_CHECK_SECONDS,
        max_request_header_size=64 * 1024,
        max_request_body_size=LARGEST_BODY,
        asyncore_use_poll=True,
        clear_untrusted_proxy_headers=not settings.BEHIND_HTTPS,
    )
    where = (listening.family, listening.type, listening.proto, listening.getsockname())
    return Server(application, _sock=listening, adj=adjustments, sockinfo=where, bind_socket=False)


def _allow_open_files(n: int) -> int:
    """Raise this process's limit of open files to ``n`` if the system lets it. Return the limit."""
    if sys.platform == "win32":
        return n
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n if hard == resource.RLIM_INFINITY else min(n, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return n if soft == resource.RLIM_INFINITY else soft
