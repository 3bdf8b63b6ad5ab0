"""Permit a signed-in person to send a large body, which the web server checks before it reads the body.

The server reads a request before the application sees it, so without this anyone could fill its disk without a session.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from django.core.signing import BadSignature, TimestampSigner

PARAMETER = "permit"
_SECONDS = 24 * 3600  # as long as a page may stay open before its form is sent
_signer = TimestampSigner(salt="hoshina.upload")


def issue(user_pk: int) -> str:
    """Return the value of the parameter ``permit`` of the form's address."""
    return _signer.sign(str(user_pk))


def is_valid(query: str) -> bool:
    """Return whether the query of an address holds a permit that this server issued within a day. Needs no database."""
    try:
        values = parse_qs(query, max_num_fields=20).get(PARAMETER, [""])
        _signer.unsign(values[0], max_age=_SECONDS)
    except (BadSignature, ValueError):
        return False
    return True
