"""Define what people may do: three roles, and the check that pages, commands and interfaces for programs share.

A role is a permission, which Django's groups of the same name hold (``hoshina.web.groups``). A view declares the role
that it needs with :func:`requires` or :func:`requires_to_change`. Without a declaration, people who may label may
look, and people who may manage datasets may change something; so a new view is never open to everyone by accident.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from django.contrib.auth.models import AnonymousUser, User

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_View = TypeVar("_View", bound=Callable[..., Any])


class Role(Enum):
    """A role; its value is the name of its permission."""

    LABELER = "labeling.label_images"
    MANAGER = "labeling.manage_datasets"
    ADMINISTRATOR = "labeling.administer"

    @property
    def group(self) -> str:
        """Return the name of the group that holds the permission."""
        return f"{self.name.title()}s"

    @property
    def refusal(self) -> str:
        """Return what someone without this role reads."""
        who = {
            Role.LABELER: "Your account may not open this page. Ask an administrator to add you to the group Labelers.",
            Role.MANAGER: "Only managers may do this. Ask a manager, or an administrator to add you to them.",
            Role.ADMINISTRATOR: "Only administrators may do this. Ask an administrator.",
        }
        return who[self]


def requires(role: Role) -> Callable[[_View], _View]:
    """Declare the role that a view needs."""
    return _declared(role, role)


def requires_to_change(role: Role) -> Callable[[_View], _View]:
    """Declare the role that a view needs for methods that change something; to look, people only have to label."""
    return _declared(Role.LABELER, role)


def _declared(to_look: Role, to_change: Role) -> Callable[[_View], _View]:
    def decorate(view: _View) -> _View:
        view.roles = (to_look, to_change)  # type: ignore[attr-defined]
        return view

    return decorate


def role_for(view: Callable[..., Any], method: str) -> Role:
    """Return the role that a request with this method needs."""
    to_look, to_change = getattr(view, "roles", (Role.LABELER, Role.MANAGER))
    return to_look if method in SAFE_METHODS else to_change


def may(user: User | AnonymousUser, role: Role) -> bool:
    """Return whether a person has the role."""
    return user.has_perm(role.value)
