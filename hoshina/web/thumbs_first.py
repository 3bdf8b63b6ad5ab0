"""Answer requests for cached thumbnails before Django: a page has 60 to 240 of them.

Only GET requests with a URL that was signed for the session of their cookie (:mod:`labeling.display.signed_thumbs`)
are answered here, and only if the thumbnail is cached. All others go to Django, which checks the session and renders.
Thumbnails answered here are neither in the access log nor in the metrics. With ``AL_ACCEL_REDIRECT``, nginx sends the
file that this module names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication

from django.conf import settings
from django.http import parse_cookie

from labeling.display.signed_thumbs import picture_of
from labeling.images.decoder_pool import pictures
from labeling.images.thumbnails import CONTENT_TYPES, TILE

_PATH = "/api/thumb/"


def thumbs_first(application: WSGIApplication) -> WSGIApplication:
    """Return an application that answers for cached thumbnails, and passes all other requests on."""

    def respond(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].startswith(_PATH):
            thumb = _find(environ)
            if thumb is not None:
                return thumb(start_response)
        return application(environ, start_response)

    return respond


def _find(environ: dict[str, Any]) -> Callable[[StartResponse], list[bytes]] | None:
    session_key = parse_cookie(environ.get("HTTP_COOKIE", "")).get(settings.SESSION_COOKIE_NAME, "")
    url = f"{environ.get('SCRIPT_NAME', '')}{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
    named = picture_of(url, session_key)
    if named is None:
        return None
    picture_hash, rendering_key = named
    etag = f'"{picture_hash}-{TILE}{rendering_key and "-"}{rendering_key}"'
    if etag in environ.get("HTTP_IF_NONE_MATCH", ""):
        return lambda start_response: _respond(start_response, "304 Not Modified", etag, [])
    place = pictures().find_by_key(picture_hash, TILE, rendering_key)
    if place is None:
        return None
    content_type = ("Content-Type", CONTENT_TYPES[place.suffix])
    if settings.ACCEL_REDIRECT:
        sent_by = ("X-Accel-Redirect", settings.ACCEL_REDIRECT + place.relative_to(pictures().folder).as_posix())
        return lambda start_response: _respond(start_response, "200 OK", etag, [content_type, sent_by])
    try:
        content = place.read_bytes()
    except OSError:  # removed in this moment
        return None
    about = [content_type, ("Content-Length", str(len(content)))]
    return lambda start_response: _respond(start_response, "200 OK", etag, about, content)


def _respond(
    start_response: StartResponse, status: str, etag: str, about: list[tuple[str, str]], content: bytes = b""
) -> list[bytes]:
    shared = [
        ("ETag", etag),
        ("Cache-Control", "private, max-age=31536000, immutable"),
        ("Vary", "Cookie"),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "default-src 'none'"),
    ]
    start_response(status, about + shared)
    return [content]
