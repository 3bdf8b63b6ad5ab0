"""Create the groups of people, and put new people into the one that may label."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet

from hoshina.core.roles import Role

# What managers may do in the admin, by model. The folders of datasets and everything of people is the administrators'.
_CHANGED_BY_MANAGERS = Q(content_type__app_label="labeling", content_type__model__in=("labelclass", "field"))
_SEEN_BY_MANAGERS = Q(codename__startswith="view_") & ~Q(
    content_type__app_label__in=("auth", "sessions", "axes", "api")
)


def permissions_of(role: Role) -> QuerySet[Permission]:
    """Return the permissions of the group of a role; each role may do what those before it may."""
    everything = Permission.objects.all()
    if role is Role.ADMINISTRATOR:
        return everything
    names = [Role.LABELER.value.partition(".")[2]]
    if role is Role.LABELER:
        return everything.filter(content_type__app_label="labeling", codename__in=names)
    names.append(Role.MANAGER.value.partition(".")[2])
    own = Q(content_type__app_label="labeling", codename__in=names)
    return everything.filter(own | _CHANGED_BY_MANAGERS | _SEEN_BY_MANAGERS)


def create_groups(sender: object, *, using: str = "default", **kwargs: Any) -> None:
    """Create the groups with their permissions after each migration.

    Permissions that someone added to a group or removed from it stay as they are: only a new group is filled, and
    administrators get the permissions of models added since.
    """
    for role in Role:
        group, is_new = Group.objects.using(using).get_or_create(name=role.group)
        if is_new or not group.permissions.exists() or role is Role.ADMINISTRATOR:
            group.permissions.add(*permissions_of(role).using(using))


def add_to_labelers(sender: object, *, instance: User, created: bool, raw: bool = False, **kwargs: Any) -> None:
    """Put a new account into the group of those who may label, until an administrator decides otherwise."""
    if created and not raw and not instance.is_superuser:
        group, _ = Group.objects.get_or_create(name=Role.LABELER.group)
        instance.groups.add(group)
