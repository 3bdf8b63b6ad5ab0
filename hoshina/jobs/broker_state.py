"""Check that the broker answers."""

from __future__ import annotations

import os

from django.conf import settings


def broker_answers() -> bool:
    """Return whether Redis answers a ping, or the embedded broker's folder can be written."""
    if not settings.BROKER_URL:
        folder = settings.BROKER_DIR
        while not folder.exists():
            folder = folder.parent
        return folder.is_dir() and os.access(folder, os.W_OK)
    from redis import Redis
    from redis.exceptions import RedisError

    client = Redis.from_url(settings.BROKER_URL, socket_connect_timeout=1, socket_timeout=1)
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
    finally:
        client.close()
