"""Show a person's own account: role, password, and the browsers that are signed in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import PasswordChangeView
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils import timezone
from django.views.decorators.http import require_POST

from hoshina.core.http import HtmxHttpRequest
from hoshina.core.plural import counted
from hoshina.core.roles import Role, may, requires


class AccountView(PasswordChangeView):
    """Show the account, and change its password, which signs out every other browser."""

    template_name = "registration/account.html"
    success_url = reverse_lazy("account")

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(self.request, "The password was changed. Other browsers have been signed out.")
        return super().form_valid(form)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = self.request.user
        assert user.is_authenticated
        role = next((role for role in reversed(Role) if may(user, role)), None)
        return super().get_context_data(
            role=role.name.lower() if role else "none",
            n_elsewhere=len(_sessions_elsewhere(self.request)),
            session_days=settings.SESSION_COOKIE_AGE // 86_400,
            **kwargs,
        )


@requires(Role.LABELER)
@require_POST
def sign_out_elsewhere(request: HtmxHttpRequest) -> HttpResponse:
    """End every session of this account but that of this browser."""
    sessions = _sessions_elsewhere(request)
    Session.objects.filter(pk__in=[session.pk for session in sessions]).delete()
    messages.success(request, f"Signed out {counted(len(sessions), 'other browser')}.")
    return redirect("account")


def _sessions_elsewhere(request: HttpRequest) -> list[Session]:
    """Return the unexpired sessions of this account in other browsers. Reads every session: a server has dozens."""
    own = str(request.user.pk)
    others = Session.objects.filter(expire_date__gt=timezone.now()).exclude(pk=request.session.session_key)
    return [session for session in others.iterator() if session.get_decoded().get("_auth_user_id") == own]
