"""Create, find and revoke the tokens of programs."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.contrib.auth.models import User

from hoshina.api.models import MAX_NAME, Token
from hoshina.core import upload_permit
from hoshina.core.errors import Refusal
from hoshina.jobs import clock

PREFIX = "hoshina_"
DAYS, MOST_DAYS = 90, 3650
# The choices on the page.
LIFETIMES = (7, 30, 90, 365)
MOST_TOKENS = 100
USED_EVERY = timedelta(minutes=1)
# How long an expired token is listed.
_LISTED = timedelta(days=30)


def issue(user: User, name: str, *, scope: str, days: int = DAYS, is_local: bool = False) -> tuple[Token, str]:
    """Create a token of the person, and return it with its text, which is stored nowhere. Raises Refusal."""
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME or not name.isprintable():
        hint = f"Use 1 to {MAX_NAME} printable characters that say which program uses it."
        raise Refusal("The token needs a name.", hint, field="name")
    if scope not in Token.Scope.values:
        raise Refusal(f"There is no scope {scope[:20]!r}.", "Use read or write.", field="scope")
    if not 1 <= days <= MOST_DAYS:
        raise Refusal(f"A token cannot be valid for {days:,} days.", f"Use 1 to {MOST_DAYS:,} days.", field="days")
    if Token.objects.filter(user=user).count() >= MOST_TOKENS:
        raise Refusal(f"This account has {MOST_TOKENS} tokens.", "Revoke one that no program uses any more.")
    random = PREFIX + secrets.token_urlsafe(32)
    text = f"{random}.{upload_permit.signature_of(random)}"
    now = clock.now()
    token = Token.objects.create(
        user=user,
        name=name,
        digest=_digest(text),
        start=text[: len(PREFIX) + 4],
        scope=scope,
        created_at=now,
        expires_at=now + timedelta(days=days),
        is_local=is_local,
    )
    return token, text


def find(text: str) -> Token | None:
    """Return the token with this text, with its person; None if there is none, it expired or the account is closed."""
    if not text.startswith(PREFIX):
        return None
    token = Token.objects.select_related("user").filter(digest=_digest(text), user__is_active=True).first()
    now = clock.now()
    if token is None or token.expires_at <= now:
        return None
    _note_use(token, now)
    return token


def _note_use(token: Token, now: datetime) -> None:
    if token.last_used_at is None or token.last_used_at < now - USED_EVERY:
        Token.objects.filter(pk=token.pk).update(last_used_at=now)
        token.last_used_at = now


def revoke(user: User, pk: int) -> None:
    """Delete a token of the person, at once for every program that uses it. Raises Refusal if there is none."""
    if not Token.objects.filter(user=user, pk=pk).delete()[0]:
        raise Refusal("This token was revoked in the meantime.")


def forget_expired() -> None:
    """Delete tokens that expired a month ago."""
    Token.objects.filter(expires_at__lt=clock.now() - _LISTED).delete()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
