"""Sign people in: by the link of this machine's user, which works once, or by a link to choose a password."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.views import LoginView, PasswordResetConfirmView
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse, reverse_lazy
from django.utils.encoding import force_bytes
from django.utils.http import url_has_allowed_host_and_scheme, urlencode, urlsafe_base64_encode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from hoshina.core import sign_in_token
from hoshina.core.http import PASSWORD_BACKEND, local_user

ADMINISTRATOR = "admin"


def local_sign_in_path(page: str = "/") -> str:
    """Return the path of the link by which the user of this machine signs in and comes to ``page``."""
    path = reverse("local_sign_in", args=[sign_in_token.current()])
    return path if page == "/" else f"{path}?{urlencode({'next': page})}"


@login_not_required
@never_cache
@require_http_methods(["GET"])
def local_sign_in(request: HttpRequest, token: str) -> HttpResponse:
    """Sign in as the user of this machine with a token, which is void afterwards."""
    if not settings.TOKEN_REQUIRED:
        raise Http404("People sign in with a password here.")
    if not request.user.is_authenticated:
        if not sign_in_token.spend(token):
            return render(request, "registration/login.html", {"was_used": True, **_how()}, status=403)
        login(request, local_user(), backend=PASSWORD_BACKEND)
    page = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(page, {request.get_host()}, require_https=request.is_secure())
    return redirect(page if is_ours else "home")


class SignInView(LoginView):
    """Ask for name and password; on a machine whose user signs in by a link, say how to get it."""

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        return {**super().get_context_data(**kwargs), **_how()}


def _how() -> dict[str, object]:
    return {"needs_link": settings.TOKEN_REQUIRED, "command": settings.COMMAND}


def first_sign_in_path() -> str:
    """Return the path of a link for the administrator; "" if someone already has a password."""
    users = get_user_model().objects
    if any(user.has_usable_password() for user in users.filter(is_active=True)):
        return ""
    user, _ = users.get_or_create(
        username=ADMINISTRATOR, defaults={"is_staff": True, "is_superuser": True, "password": "!"}
    )
    return password_path(user)


def password_path(user: User) -> str:
    """Return the path of a link by which a person chooses a password.

    It is Django's for resetting a password: void once it was used, and after PASSWORD_RESET_TIMEOUT.
    """
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return reverse("first_sign_in", args=[uid, default_token_generator.make_token(user)])


class ChoosePasswordView(PasswordResetConfirmView):
    """Save the password that a person chose, and sign in."""

    template_name = "registration/first_sign_in.html"
    success_url = reverse_lazy("home")
    post_reset_login = True
    post_reset_login_backend = PASSWORD_BACKEND
