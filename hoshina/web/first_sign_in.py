"""Let the first administrator of a server sign in by a link that works once and choose a password."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.views import PasswordResetConfirmView
from django.urls import reverse, reverse_lazy
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

ADMINISTRATOR = "admin"


def first_sign_in_path() -> str:
    """Return the path of a link for the administrator; "" if someone already has a password.

    The link is Django's for resetting a password. It is void once it was used, and after PASSWORD_RESET_TIMEOUT.
    """
    users = get_user_model().objects
    if any(user.has_usable_password() for user in users.filter(is_active=True)):
        return ""
    user, _ = users.get_or_create(
        username=ADMINISTRATOR, defaults={"is_staff": True, "is_superuser": True, "password": "!"}
    )
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return reverse("first_sign_in", args=[uid, default_token_generator.make_token(user)])


class FirstSignInView(PasswordResetConfirmView):
    """Save the administrator's password and sign in."""

    template_name = "registration/first_sign_in.html"
    success_url = reverse_lazy("home")
    post_reset_login = True
    post_reset_login_backend = "django.contrib.auth.backends.ModelBackend"
