"""Answer the requests of the parent process, in a process that opens untrusted files."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from labeling.images.decoder_messages import Outcome, Request, decode_request, receive, send


def serve(
    calls: dict[str, Callable[..., Any]],
    answers: Callable[[Callable[..., Any], Request], Iterator[list[Outcome[Any]]]],
) -> None:
    """Answer requests for ``calls`` by ``answers`` until the parent process closes the connection."""
    # Output of libraries must not mix with the messages.
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, messages), daemon=True).start()
    while True:
        request, call = decode_request(messages.get(), calls)
        for batch in answers(call, request):
            send(stream, batch)


def _listen(stream: BinaryIO, messages: queue.SimpleQueue[bytes]) -> None:
    """Read requests in a thread, so that the process ends at once when its parent has ended, whatever it is doing."""
    while message := receive(stream):
        messages.put(message)
    os._exit(0)
