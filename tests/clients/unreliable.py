"""A server between a client and the real one, which loses answers and says that there are too many requests."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Unreliable(ThreadingHTTPServer):
    """Treats the next requests as ``plan`` says, in order: "lose" the answer, "limit", "busy"; the others pass."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(url).netloc
        self.plan: list[str] = []
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Unreliable
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        action = self.server.plan.pop(0) if self.server.plan else "pass"
        self.server.requests.append(f"{self.command} {self.path} {action}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if action in ("limit", "busy"):
            self._send(429 if action == "limit" else 503, b"{}", "application/problem+json", retry="1")
            return
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        connection.request(self.command, self.path, body, {**headers, "Host": self.server.target})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if action == "lose":
            self.close_connection = True
            return
        self._send(response.status, content, response.headers["Content-Type"])

    do_GET = do_POST = _pass

    def _send(self, status: int, content: bytes, kind: str, retry: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if retry:
            self.send_header("Retry-After", retry)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def unreliable(url: str) -> Iterator[Unreliable]:
    """Run such a server in front of the one at ``url``."""
    server = Unreliable(url)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
