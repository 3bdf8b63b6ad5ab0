"""People: accounts with a role, and browsers in which somebody is signed in, as on a server."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.test import Client

from hoshina.core.roles import Role

PASSWORD = "a-long-sentence-about-stars"


def person(name: str) -> Client:
    """Return a new browser in which this person is signed in."""
    user, _ = get_user_model().objects.get_or_create(username=name)
    client = Client()
    client.force_login(user)
    return client


def account(role: Role | None, name: str = "") -> User:
    """Create an account whose only group is that of ``role``; None: without any group."""
    user = User.objects.create_user(name or (role.name.lower() if role else "nobody"), password=PASSWORD)
    user.groups.set([] if role is None else [Group.objects.get(name=role.group)])
    return user
