"""People at browsers of their own: each signed in, as on a server."""

from django.contrib.auth import get_user_model
from django.test import Client


def person(name: str) -> Client:
    """Return a new browser in which this person is signed in."""
    user, _ = get_user_model().objects.get_or_create(username=name)
    client = Client()
    client.force_login(user)
    return client
