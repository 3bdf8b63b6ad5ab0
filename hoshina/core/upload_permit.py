"""Permit a signed-in person to send a large body, which the web server checks before it reads the body.

The server reads a request before the application sees it, so without this anyone could fill its disk without a session.
A form has a permit in its address. A program's token is its permit: its text ends in a signature of this server.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from django.core.signing import BadSignature, Signer, TimestampSigner
from django.utils.crypto import constant_time_compare

PARAMETER = "permit"
_SECONDS = 24 * 3600  # as long as a page may stay open before its form is sent
_BEARER = "bearer "
_signer = TimestampSigner(salt="hoshina.upload")
_token_signer = Signer(salt="hoshina.token")


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


def signature_of(text: str) -> str:
    """Return the signature with which the text of a token ends."""
    return _token_signer.signature(text)


def is_token(authorization: str) -> bool:
    """Return whether a header ``Authorization`` holds a token that this server issued. Needs no database.

    It may have expired or been revoked since: the application finds out, before it reads the body.
    """
    if authorization[: len(_BEARER)].lower() != _BEARER:
        return False
    text, _, signature = authorization[len(_BEARER) :].strip().partition(".")
    return constant_time_compare(signature, signature_of(text))
