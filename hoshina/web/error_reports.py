"""Report errors to a Sentry server, if AL_SENTRY_DSN names one."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def start() -> None:
    """Start to report unhandled exceptions, without what people typed and without who they are."""
    if not settings.SENTRY_DSN:
        return
    try:
        import sentry_sdk
    except ImportError as error:
        raise ImproperlyConfigured(
            "AL_SENTRY_DSN is set, but sentry-sdk is not installed. Install hoshina[sentry]."
        ) from error
    sentry_sdk.init(dsn=settings.SENTRY_DSN, send_default_pii=False, max_request_body_size="never")
