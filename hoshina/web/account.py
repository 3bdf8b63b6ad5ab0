"""Show a person's own account: role, password, the browsers that are signed in, and the tokens of programs."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import PasswordChangeView
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from hoshina.api.models import MAX_NAME, Token
from hoshina.api.tokens import DAYS, LIFETIMES, issue
from hoshina.api.tokens import revoke as revoke_token
from hoshina.core.errors import Refusal
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
            **_tokens_context(user),
            **kwargs,
        )


class TokenForm(forms.Form):
    """Represent a token to be created: which program it is for, what it may do, and for how long."""

    name = forms.CharField(
        label="Name", required=False, help_text="Which program uses it, such as “notebook on the workstation”.",
        widget=forms.TextInput(attrs={"maxlength": MAX_NAME, "autocomplete": "off"}),
    )  # fmt: skip
    scope = forms.ChoiceField(choices=Token.Scope.choices, initial=Token.Scope.WRITE, label="It may")
    days = forms.TypedChoiceField(
        choices=[(days, f"{days} days") for days in LIFETIMES], coerce=int, initial=DAYS, label="Valid for"
    )


@requires(Role.LABELER)
@require_POST
@never_cache
def tokens(request: HtmxHttpRequest) -> HttpResponse:
    """Create a token, and show its text, which nobody can see again."""
    form = TokenForm(request.POST, auto_id="token-%s", label_suffix="")
    text = ""
    if form.is_valid():
        values = form.cleaned_data
        try:
            _, text = issue(request.user, values["name"], scope=values["scope"], days=values["days"])
        except Refusal as problem:
            form.add_error(problem.field or None, str(problem))
    context = _tokens_context(request.user) | {"text": text} | ({} if text else {"token_form": form})
    return render(request, "registration/_tokens.html", context, status=200 if text else 422)


@requires(Role.LABELER)
@require_POST
def revoke(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """Delete a token of this account; programs that use it are refused from now on."""
    context: dict[str, Any] = {}
    try:
        revoke_token(request.user, pk)
    except Refusal as problem:
        context["problem"] = str(problem)
    context = _tokens_context(request.user) | context
    return render(request, "registration/_tokens.html", context, status=422 if "problem" in context else 200)


def _tokens_context(user: Any) -> dict[str, Any]:
    return {
        "tokens": Token.objects.filter(user=user.pk),
        "token_form": TokenForm(auto_id="token-%s", label_suffix=""),
        "now": timezone.now(),
    }


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
