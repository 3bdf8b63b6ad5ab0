"""Serve the documentation site: the folder ``site`` of a checkout, or of the installed package.

In a checkout whose site is not built, its Markdown files are rendered instead.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import os
import re
from functools import lru_cache
from pathlib import Path

from csp.decorators import csp_update
from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.utils._os import safe_join
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import http_date, quote_etag
from django.views.decorators.http import require_safe

# Not taken from the system's registry, which on Windows may have text/plain for scripts.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".xml": "application/xml",
    ".wasm": "application/wasm",
}
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def site_folder() -> Path:
    """Return the folder of the built site, which does not exist before it is built."""
    return Path(settings.RESOURCES_DIR) / "site"


@require_safe
def docs(request: HttpRequest, path: str = "") -> HttpResponseBase:
    """Serve one file of the site."""
    folder = site_folder()
    try:
        if not (folder / "index.html").is_file():
            from hoshina.web.docs_source import source_folder, source_page  # nobody else needs its library

            if (page := source_page(path)) is not None:
                return render(request, "docs_page.html", {"page": page})
            folder = source_folder()
        file = Path(safe_join(folder, path))  # refuses paths that lead out of the folder
        if file.is_dir():
            if path and not path.endswith("/"):
                return HttpResponseRedirect(f"{request.path}/")
            file /= "index.html"
        status, content = file.stat(), file.read_bytes()
    except (OSError, ValueError, SuspiciousFileOperation) as error:
        raise Http404(f"The documentation has no page {path!r}.") from error
    return _answer(request, file, content, status)


def _answer(request: HttpRequest, file: Path, content: bytes, status: os.stat_result) -> HttpResponseBase:
    kind = TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    response = HttpResponse(content, content_type=kind)
    etag = quote_etag(f"{status.st_mtime_ns:x}-{status.st_size:x}")
    response["ETag"] = etag
    response["Last-Modified"] = http_date(int(status.st_mtime))
    patch_cache_control(response, private=True, no_cache=True)
    # Also for a 304, whose headers a browser takes over.
    answer = get_conditional_response(request, etag, int(status.st_mtime), response) or response
    return _with_scripts(request, answer, _script_hashes(content)) if file.suffix == ".html" else answer


def _with_scripts(request: HttpRequest, response: HttpResponseBase, sources: list[str]) -> HttpResponseBase:
    """Return the response with a Content-Security-Policy that allows these scripts as well."""
    return csp_update({"script-src": sources})(lambda request: response)(request)


@lru_cache(maxsize=256)
def _script_hashes(page: bytes) -> list[str]:
    """Return the Content-Security-Policy sources of a page's inline scripts."""
    digests = (hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(page))
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
