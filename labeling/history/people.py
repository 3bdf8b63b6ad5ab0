"""Find the accounts of the people in a record, and create inactive ones for those who have none."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from hoshina.core.batches import batched
from hoshina.core.errors import Refusal

MOST_PEOPLE = 10_000
_AT_ONCE = 900


def accounts_of(names: Collection[str]) -> dict[str, int]:
    """Return the IDs of the accounts with these names."""
    found: dict[str, int] = {}
    for batch in batched(sorted(names), _AT_ONCE):
        found |= dict(User.objects.filter(username__in=batch).values_list("username", "pk"))
    return found


def check_names(names: Collection[str]) -> None:
    """Raise Refusal if there are too many people, or a name can't be that of an account."""
    if len(names) > MOST_PEOPLE:
        raise Refusal(f"The record has {len(names):,} people. At most {MOST_PEOPLE:,} are imported.")
    for name in names:
        try:
            User._meta.get_field("username").run_validators(name)
        except ValidationError as error:
            raise Refusal(f"{name[:40]!r} can't be the name of a person: {' '.join(error.messages)}") from error


def restore_people(names: Collection[str]) -> tuple[Mapping[str, int], list[str]]:
    """Return the accounts by name, and the names of those created now.

    They are inactive, have no password and belong to no group, so nobody can sign in as them.
    """
    accounts = accounts_of(names)
    created = sorted(set(names) - accounts.keys())
    User.objects.bulk_create(User(username=name, password=make_password(None), is_active=False) for name in created)
    return accounts | accounts_of(created), created
