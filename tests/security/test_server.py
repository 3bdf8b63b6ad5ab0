"""The web server against clients that hold connections, send slowly, or send more than they may."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hoshina.core import upload_permit
from hoshina.web import server as web_server
from tests.parts import wait_until

MIB = 1024 * 1024


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{len(body)} from {environ['REMOTE_ADDR']}".encode()]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Provide the port of a server with short limits on time, and few connections."""
    monkeypatch.setattr(web_server, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(web_server, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(web_server, "_CHECK_SECONDS", 0)
    monkeypatch.setattr(web_server, "CONNECTIONS", 60)
    listening = socket.create_server(("127.0.0.1", 0))
    server = web_server.create_server(application, listening, threads=2)
    running = threading.Thread(target=server.run, daemon=True)
    running.start()
    yield listening.getsockname()[1]
    server.asyncore.close_all(server._map)
    server.task_dispatcher.shutdown()
    running.join(timeout=10)


def post(port: int, path: str, size: int, *, chunked: bool = False) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body: Any = iter([bytes(64 * 1024)] * (size // (64 * 1024))) if chunked else bytes(size)
    try:
        connection.request("POST", path, body, encode_chunked=chunked)
        response = connection.getresponse()
        return response.status, response.read()
    except (ConnectionError, BrokenPipeError):  # refused and closed while the body was being sent
        return 413, b""
    finally:
        connection.close()


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server has closed a connection."""
    connection.settimeout(0.05)
    try:
        while connection.recv(4096):
            continue
        return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_usual_bodies_need_no_permit(port: int) -> None:
    assert post(port, "/", 0)[0] == 200
    assert post(port, "/", MIB) == (200, b"1048576 from 127.0.0.1")


@pytest.mark.attack("large bodies")
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("query", ["", "?permit=", "?permit=1:x:y", "?permit=" + "9" * 300, "?" + "a=1&" * 50])
def test_large_bodies_need_a_permit(port: int, query: str, chunked: bool) -> None:
    assert post(port, f"/{query}", 2 * MIB, chunked=chunked)[0] == 413


@pytest.mark.parametrize("chunked", [False, True])
def test_with_a_permit_they_are_read(port: int, chunked: bool) -> None:
    permit = upload_permit.issue(1)
    assert post(port, f"/?permit={permit}", 2 * MIB, chunked=chunked)[:1] == (200,)


@pytest.mark.attack("large bodies")
def test_a_permit_expires(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    permit = upload_permit.issue(1)
    monkeypatch.setattr(upload_permit, "_SECONDS", -1)
    assert post(port, f"/?permit={permit}", 2 * MIB)[0] == 413


@pytest.mark.attack("slow and idle connections")
@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-"])
def test_a_header_that_never_ends_is_not_waited_for(port: int, start: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(start or b"G")

        def sends_on() -> bool:
            try:
                connection.sendall(b"x")
            except OSError:
                return True
            return is_closed(connection)

        wait_until(sends_on, why="the server to hang up")


@pytest.mark.attack("slow and idle connections")
def test_a_body_that_never_ends_is_not_waited_for(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
        wait_until(lambda: is_closed(connection), why="the server to hang up")


@pytest.mark.attack("slow and idle connections")
def test_idle_connections_make_room(port: int) -> None:
    """More connections than the server takes are open; a new one is answered all the same."""
    opened = []
    for _ in range(100):
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        opened.append(connection)
        time.sleep(0.005)
    assert post(port, "/", 10)[0] == 200
    assert sum(is_closed(connection) for connection in opened) >= 40
    for connection in opened:
        connection.close()


@pytest.mark.attack("malformed requests")
@pytest.mark.parametrize(
    "request_", [b"\x00" * 100 + b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                 b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                 b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
                 b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
                 b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
                 b"POST / HTTP/1.1\r\nTransfer-Encoding: identity, chunked, x\r\n\r\n0\r\n\r\n",
                 b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", b"GET / HTTP/1.1\r\nX : y\r\n\r\n",
                 b"GET / HTTP/1.1\r\nContent-Length: 1e9\r\n\r\n", b"GET / HTTP/1.1\nX: y\r\rZ: 1\r\n\r\n"]
)  # fmt: skip
def test_malformed_requests_are_refused(port: int, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request_)
        answer = connection.recv(4096)
        assert answer == b"" or answer.split(b" ")[1][:1] == b"4" or answer.split(b" ")[1] == b"501"
    assert post(port, "/", 10)[0] == 200


def test_the_limit_of_open_files_is_raised() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert web_server._allow_open_files(512) == 512
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
