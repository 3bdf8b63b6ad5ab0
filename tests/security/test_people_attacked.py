"""Taking over somebody's session or account, learning who has one, and being more than one is."""

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client

from hoshina.core import sign_in_token
from hoshina.core.roles import Role
from hoshina.web.sign_in import password_path
from labeling.models import Annotation, Dataset, Item, LabelClass
from tests.factories import not_none
from tests.people import PASSWORD, account

pytestmark = pytest.mark.django_db
COOKIE = site_settings.SESSION_COOKIE_NAME


@pytest.fixture(autouse=True)
def _with_passwords(settings: Any, store: Any) -> None:
    settings.LOGIN_REQUIRED = True


def sign_in(client: Client, name: str, password: str = PASSWORD) -> Any:
    return client.post("/sign-in/", {"username": name, "password": password})


# -- Sessions ---------------------------------------------------------------------------------------------
@pytest.mark.attack("session fixation")
@pytest.mark.parametrize("planted", ["a" * 32, "x", "../../etc/passwd", "' OR 1=1 --", "0" * 5000, "\u00e9"])
def test_a_session_that_somebody_planted_is_not_taken(planted: str) -> None:
    account(Role.LABELER)
    client = Client()
    client.cookies[COOKIE] = planted
    assert sign_in(client, "labeler").status_code == 302
    assert client.cookies[COOKIE].value != planted
    assert not Session.objects.filter(pk=planted).exists()


@pytest.mark.attack("session fixation")
def test_signing_in_changes_the_key_of_a_session_that_was_open() -> None:
    """Whoever knew the key before knows nothing afterwards; the same when the password changes or a person leaves."""
    account(Role.LABELER)
    client, other = Client(), Client()
    sign_in(client, "labeler", "wrong")
    session = client.session
    session["planted"] = "x"
    session.save()
    client.cookies[COOKIE] = before = str(session.session_key)
    sign_in(client, "labeler")
    after = client.cookies[COOKIE].value
    assert after != before
    other.cookies[COOKIE] = before
    assert other.get("/account/").status_code == 302
    client.post("/sign-out/")
    other.cookies[COOKIE] = after
    assert other.get("/account/").status_code == 302


@pytest.mark.attack("forged sessions")
@pytest.mark.parametrize("value", ["", "0", "None", "x" * 31, "x" * 32, "\x00", '{"_auth_user_id": 1}', "gAAAA=="])
def test_a_made_up_session_opens_nothing(value: str) -> None:
    account(Role.ADMINISTRATOR)
    client = Client()
    client.cookies[COOKIE] = value
    for path in ("/", "/account/", "/jobs/", "/admin/"):
        assert client.get(path).status_code == 302
    assert client.get("/api/thumb/1").status_code == 401


@pytest.mark.attack("forged sessions")
@pytest.mark.parametrize("change", ["inactive", "deleted", "another password"])
def test_a_session_ends_with_its_account(change: str) -> None:
    user, client = account(Role.MANAGER), Client()
    client.force_login(user)
    assert client.get("/account/").status_code == 200
    if change == "inactive":
        User.objects.filter(pk=user.pk).update(is_active=False)
    elif change == "deleted":
        user.delete()
    else:
        user.set_password("something else entirely")
        user.save()
    assert client.get("/account/").status_code == 302


# -- Who has an account -------------------------------------------------------------------------------------
@pytest.mark.attack("finding out names")
@pytest.mark.parametrize("name", ["nobody-here", "inactive", "labeler2", "LABELLER", "labeler' --"])
def test_an_answer_does_not_tell_who_has_an_account(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by its words nor by its time, most of which the hash of the password takes."""
    account(Role.LABELER)
    User.objects.create_user("inactive", password=PASSWORD, is_active=False)
    hashed: list[str] = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher,
        "encode",
        lambda self, password, salt: (hashed.append(password), encode(self, password, salt))[1],
    )

    def attempt(who: str, password: str) -> tuple[int, str, int]:
        hashed.clear()
        response = sign_in(Client(), who, password)
        said = re.search(r'role="alert".*?</', response.content.decode(), re.DOTALL)
        return response.status_code, said[0] if said else "", len(hashed)

    expected = attempt("labeler", "a wrong one")
    assert expected[0] == 200
    assert expected[1]
    status, said, n_hashed = attempt(name, "a wrong one")
    assert (status, said) == expected[:2]
    assert n_hashed == expected[2]


@pytest.mark.attack("false links")
@pytest.mark.parametrize("kind", ["used", "old password", "another person", "token cut", "made up", "inactive"])
def test_a_link_to_choose_a_password_works_once_and_for_one(kind: str) -> None:
    ann, ben = account(Role.LABELER, "ann"), account(Role.ADMINISTRATOR, "ben")
    path = password_path(ann)
    if kind == "used":
        first = Client()
        form = first.get(path, follow=True).redirect_chain[-1][0]
        first.post(form, {"new_password1": "a-first-sentence-now", "new_password2": "a-first-sentence-now"})
    elif kind == "old password":
        ann.set_password("changed meanwhile, long")
        ann.save()
    elif kind == "another person":
        path = password_path(ben).rsplit("/", 2)[0] + "/" + password_path(ann).rsplit("/", 2)[1] + "/"
    elif kind == "token cut":
        path = path[:-4] + "/"
    elif kind == "made up":
        path = path.rsplit("/", 2)[0] + "/set-password/"
    else:
        User.objects.filter(pk=ann.pk).update(is_active=False, password="!")
    hashes = dict(User.objects.values_list("username", "password"))
    client = Client()
    page = client.get(path, follow=True)
    target = page.redirect_chain[-1][0] if page.redirect_chain else path
    new = "another-sentence-about-dust"
    client.post(target, {"new_password1": new, "new_password2": new})
    assert dict(User.objects.values_list("username", "password")) == hashes
    assert client.get("/account/").status_code == 302


@pytest.mark.attack("false links")
@pytest.mark.django_db(transaction=True)
def test_two_who_come_with_one_link_at_once_are_not_both_let_in(settings: Any) -> None:
    settings.LOGIN_REQUIRED, settings.TOKEN_REQUIRED = False, True
    for _ in range(10):
        token, let_in = sign_in_token.current(), []
        gate = threading.Barrier(6)

        def come(token: str = token, let_in: list[bool] = let_in, gate: threading.Barrier = gate) -> None:
            gate.wait()
            let_in.append(sign_in_token.spend(token))

        threads = [threading.Thread(target=come) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert let_in.count(True) == 1


# -- More than one is ---------------------------------------------------------------------------------------------
MORE = {
    "is_superuser": "1", "is_staff": "1", "is_active": "1", "groups": "3", "user_permissions": "1",
    "role": "administrator",
    "username": "admin", "password": "x", "id": "1", "pk": "1", "user": "1", "annotator": "1", "dataset": "2",
    "root": "/etc", "slug": "stolen", "is_retired": "1", "n_items": "9", "archived_at": "2020-01-01",
}  # fmt: skip


@pytest.fixture
def dataset(make_dataset: Any) -> Dataset:
    made: Dataset = make_dataset(3)
    return made


@pytest.mark.attack("fields that a form does not have")
@pytest.mark.parametrize("role", [Role.LABELER, Role.MANAGER])
@pytest.mark.parametrize(
    "path",
    ["account/", "account/sign-out-elsewhere/", "d/pictures/manage/rename/", "d/pictures/manage/archive/",
     "d/pictures/classes/add/", "d/pictures/classes/1/edit/", "d/pictures/fields/together/", "d/pictures/model/policy/",
     "d/pictures/images/", "d/pictures/grouping/", "d/pictures/watch/", "datasets/", "admin/auth/user/1/change/",
     "admin/labeling/dataset/1/change/", "admin/labeling/labelclass/1/change/"],
)  # fmt: skip
def test_fields_that_a_form_does_not_have_change_nothing(dataset: Dataset, role: Role, path: str) -> None:
    user, client = account(role), Client()
    client.force_login(user)
    before = Dataset.objects.values("root", "slug", "n_items").get()
    response = client.post(f"/{path}", MORE | {"name": "renamed"})
    assert response.status_code < 500
    user = User.objects.get(pk=user.pk)
    assert not user.is_superuser
    assert not user.is_staff
    assert user.username == role.name.lower()
    assert user.check_password(PASSWORD)
    assert list(user.groups.all()) == [Group.objects.get(name=role.group)]
    assert Dataset.objects.values("root", "slug", "n_items").get() == before
    assert not LabelClass.objects.exclude(dataset=dataset).exists()


@pytest.mark.attack("in the name of another person")
@pytest.mark.parametrize("claim", ["user", "annotator", "user_id", "annotator_id", "holder", "username", "by"])
def test_a_label_carries_the_name_of_who_is_signed_in(dataset: Dataset, claim: str) -> None:
    victim, client = account(Role.ADMINISTRATOR), Client()
    client.force_login(account(Role.LABELER))
    item, label = not_none(dataset.items.first()), not_none(dataset.classes.first())
    action = {
        "uuid": "6f0b4a1e-3a5c-4c0e-9d3a-0a4b3f0e9a11", "kind": "assign", "label": label.pk,
        "at": "2026-11-01T12:00:00+00:00", "suggestion_shown": None, "items": [{"id": item.pk}], claim: victim.pk,
    }  # fmt: skip
    response = client.post(
        f"/d/{dataset.slug}/annotate/", {"actions": [action], claim: victim.pk}, content_type="application/json"
    )
    assert response.status_code in (200, 400)
    assert not Annotation.objects.filter(annotator=victim).exists()


@pytest.mark.attack("rows of another dataset")
def test_an_address_of_one_dataset_changes_nothing_of_another(make_dataset: Any) -> None:
    """A number in an address is taken together with its dataset: roles per dataset will depend on it."""
    mine, theirs = make_dataset(3, name="mine"), make_dataset(3, name="theirs")
    client = Client()
    client.force_login(account(Role.ADMINISTRATOR))
    label, item = theirs.classes.first(), theirs.items.first()
    for act in ("edit", "move", "merge", "delete"):
        path = f"classes/{label.pk}/{act}/"
        response = client.post(f"/d/mine/{path}", {"name": "taken", "key": "9", "colour": "#000000", "by": "1"})
        assert response.status_code in (404, 422), path
    action = {
        "uuid": "6f0b4a1e-3a5c-4c0e-9d3a-0a4b3f0e9a12", "kind": "assign", "label": label.pk,
        "at": "2026-11-01T12:00:00+00:00", "suggestion_shown": None,
        "items": [{"id": item.pk}, {"id": mine.items.first().pk}],
    }  # fmt: skip
    response = client.post("/d/mine/annotate/", {"actions": [action]}, content_type="application/json")
    assert response.status_code in (200, 400)
    assert not Item.objects.filter(state=1).exists()
    assert sorted(theirs.classes.values_list("name", "is_retired")) == [("cat", False), ("dog", False)]


@pytest.mark.attack("addresses of another role")
@pytest.mark.parametrize("trick", ["//", "/./", "/x/../", "/%2e/", "?", ";admin=1", "/.", "%20", "%00", "#"])
def test_another_way_to_write_an_address_is_no_way_around_its_role(dataset: Dataset, trick: str) -> None:
    client = Client()
    client.force_login(account(Role.LABELER))
    for path in admin_paths():
        for written in (path + trick, path.replace("/d/", f"{trick}d/", 1)):
            response = client.get(written)
            assert response.status_code in (301, 302, 403, 404), written


def admin_paths() -> Iterator[str]:
    yield from ("/d/pictures/export/", "/d/pictures/import/", "/d/pictures/manage/", "/admin/auth/user/")
