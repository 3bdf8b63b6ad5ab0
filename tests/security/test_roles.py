"""Every address times every role, against a table."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from hoshina.core.roles import Role
from labeling.models import Dataset, LabelClass
from tests.people import account
from tests.security.addresses import addresses, path_of

pytestmark = pytest.mark.django_db

OPEN, LABELER, MANAGER, ADMINISTRATOR = None, Role.LABELER, Role.MANAGER, Role.ADMINISTRATOR
# Who may look (GET), and who may change something (POST), whether or not the address has anything to change.
LOOK, CHANGE = (LABELER, LABELER), (LABELER, MANAGER)
TABLE: dict[str, tuple[Role | None, Role | None]] = {
    **dict.fromkeys(["healthz", "login", "local_sign_in", "first_sign_in", "logout"], (OPEN, OPEN)),
    **dict.fromkeys(["account", "sign_out_elsewhere", "labeling:annotate", "modeling:retrain"], LOOK),
    "sampling:view_delete": LOOK,
    **dict.fromkeys(["tokens", "token_revoke"], LOOK),
    **dict.fromkeys(["api:annotations", "api:pull", "api:dataset_jobs", "api:openapi"], LOOK),
    **dict.fromkeys(["api:docs", "api:nowhere"], LOOK),
    "api:export": (MANAGER, MANAGER),
    **dict.fromkeys(["labeling:notes", "labeling:note_delete", "labeling:tags", "sampling:view_save"], LOOK),
    **dict.fromkeys(["sampling:leases_renew", "sampling:leases_release", "sampling:example_upload"], LOOK),
    "labeling:datasets": (LABELER, ADMINISTRATOR),
    **dict.fromkeys(
        ["labeling:folders", "labeling:folder_preview", "labeling:demo", "labeling:upload"],
        (ADMINISTRATOR, ADMINISTRATOR),
    ),
    "dataset_manage": (MANAGER, MANAGER),
    "labeling:first_classes": (MANAGER, MANAGER),
    "dataset_rename": CHANGE,
    "dataset_describe": CHANGE,
    "dataset_archive": CHANGE,
    "dataset_delete": (LABELER, ADMINISTRATOR),
    "modeling:encoder_add": (LABELER, ADMINISTRATOR),
    "modeling:encoder_remove": (LABELER, ADMINISTRATOR),
    **dict.fromkeys(["labeling:export", "labeling:export_zip", "labeling:import"], (MANAGER, MANAGER)),
    **dict.fromkeys(["labeling:import_preview", "labeling:import_apply", "labeling:import_crops"], (MANAGER, MANAGER)),
    "labeling:import_folders": (MANAGER, MANAGER),
    "modeling:quick_file": (MANAGER, MANAGER),
    **dict.fromkeys(
        [
            "home", "workbench", "docs", "disk", "jobs:page", "jobs:list", "jobs:strip", "jobs:cancel", "jobs:retry",
            "sampling:results", "sampling:grid", "sampling:queues", "sampling:search", "sampling:field",
            "sampling:accuracy", "sampling:honest", "labeling:recent", "sampling:plot",
            "sampling:share", "sampling:map", "sampling:map_projections", "sampling:map_make",
            "sampling:map_rename", "sampling:map_delete", "sampling:map_points", "sampling:map_colours",
            "sampling:map_changes", "sampling:map_legend", "sampling:map_clusters", "sampling:map_clusters_list",
            "sampling:map_at", "sampling:map_thumbs", "sampling:example", "sampling:unlike_groups",
            "sampling:class_split", "sampling:class_split_state", "sampling:class_split_propose",
            "sampling:class_split_preview", "sampling:class_split_apply", "sampling:class_split_learn",
            "sampling:class_split_update", "sampling:class_split_undo", "sampling:class_split_close",
            "sampling:merge_preview", "sampling:review_progress", "sampling:audit_progress", "sampling:compare",
            "sampling:guide_suggestions", "sampling:item_guide", "labeling:guide", "labeling:examples",
            "labeling:class_guide", "labeling:class_guide_edit",
            "modeling:model", "modeling:version", "modeling:head", "modeling:use", "modeling:release",
            "modeling:versions", "modeling:compare", "modeling:badge", "modeling:policy", "modeling:embed",
            "modeling:encoders", "modeling:encoder_use", "modeling:encoder_refit", "modeling:encoder_delete",
            "modeling:embeddings", "modeling:predictions", "modeling:encoder_look_up", "modeling:leakage",
            "modeling:near_duplicates",
            "modeling:quick", "modeling:quick_check", "modeling:quick_samples", "modeling:quick_live",
            "modeling:quick_finish", "modeling:quick_embed", "modeling:probabilities",
            "labeling:progress", "labeling:progress_goal",
            "labeling:header", "labeling:item", "labeling:detail", "labeling:classes", "labeling:class_list",
            "labeling:class_add", "labeling:class_edit", "labeling:class_move", "labeling:class_merge",
            "labeling:class_delete", "labeling:images", "labeling:images_preview", "labeling:images_limits",
            "labeling:fields", "labeling:field_list", "labeling:field_together", "labeling:field_cards",
            "labeling:field_edit", "labeling:field_delete", "labeling:grouping", "labeling:grouping_trial",
            "labeling:problems", "labeling:read_again",
            "labeling:import_undo", "labeling:look_again", "labeling:watch", "labeling:thumb",
            "labeling:file", "labeling:thumbnail", "labeling:rendered", "labeling:rendered_colour",
            "labeling:file_header", "labeling:colour", "labeling:scale", "labeling:sky",
            "labeling:values", "labeling:full",
            "api:me", "api:datasets", "api:dataset", "api:classes", "api:items", "api:item", "api:history",
            "api:similar", "api:queues", "api:accuracy", "api:jobs", "api:job", "api:job_cancel", "api:job_retry",
            "api:models", "api:model", "api:model_activate", "api:model_release", "api:labels", "api:embeddings",
            "api:predictions", "api:decisions", "api:class",
        ],
        CHANGE,
    ),
}  # fmt: skip


def is_let_in(client: Client, method: str, path: str) -> bool:
    """Return whether a request passes the check of roles. What the view answers then is not the question here."""
    response = client.generic(method, path)
    if response.status_code == 302:
        return not response["Location"].startswith("/sign-in/?next=")
    assert response.status_code < 500, (method, path)
    return response.status_code not in (401, 403)


def test_the_table_names_every_address() -> None:
    assert sorted({name for name, _ in addresses()}) == sorted(TABLE)


@pytest.fixture
def dataset(make_dataset: Any, settings: Any, store: Any) -> Dataset:
    settings.LOGIN_REQUIRED = True
    made: Dataset = make_dataset(3)
    return made


@pytest.mark.attack("addresses of another role")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("role", [None, *Role])
@pytest.mark.parametrize("is_signed_in", [True, False])
def test_every_address_for_every_role(
    client: Client, dataset: Dataset, role: Role | None, method: str, is_signed_in: bool
) -> None:
    user = account(role)
    ranks = {None: 0, Role.LABELER: 1, Role.MANAGER: 2, Role.ADMINISTRATOR: 3}
    wrong = []
    for name, pattern in addresses():
        needed = TABLE[name][method == "POST"]
        client.logout()
        if is_signed_in:
            client.force_login(user)
        expected = needed is None or (is_signed_in and ranks[role] >= ranks[needed])
        if name in ("local_sign_in", "first_sign_in", "healthz"):
            continue  # links for people without an account, and what needs no session: tests of their own
        if is_let_in(client, method, path_of(name, pattern, dataset)) != expected:
            wrong.append((name, f"expected {expected}"))
    assert wrong == []


def test_a_refusal_says_who_may(client: Client, dataset: Dataset) -> None:
    client.force_login(account(Role.LABELER))
    page = client.get(f"/d/{dataset.slug}/export/")
    assert page.status_code == 403
    assert "Only managers may do this." in page.content.decode()
    fragment = client.post(f"/d/{dataset.slug}/classes/add/", {"name": "x"}, headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment["Content-Type"]) == (403, "text/plain")
    assert "Only managers" in fragment.content.decode()
    assert not LabelClass.objects.filter(name="x").exists()


def test_controls_that_a_person_may_not_use_are_hidden(client: Client, dataset: Dataset) -> None:
    for role, roles in ((Role.LABELER, ""), (Role.MANAGER, "manager"), (Role.ADMINISTRATOR, "manager administrator")):
        client.force_login(account(role))
        assert f'data-roles="{roles}"' in client.get(f"/d/{dataset.slug}/classes/").content.decode()


@pytest.mark.parametrize(
    ("role", "expected"), [(Role.LABELER, 302), (Role.MANAGER, 403), (Role.ADMINISTRATOR, 200)]
)  # fmt: skip
def test_only_administrators_manage_people(client: Client, dataset: Dataset, role: Role, expected: int) -> None:
    client.force_login(account(role))
    assert client.get("/admin/auth/user/").status_code == expected
    assert client.get("/admin/labeling/labelclass/").status_code == (302 if role is Role.LABELER else 200)


@pytest.mark.attack("addresses of another role")
def test_managers_cannot_move_a_dataset_to_another_folder(client: Client, dataset: Dataset) -> None:
    client.force_login(account(Role.MANAGER))
    path = f"/admin/labeling/dataset/{dataset.pk}/change/"
    assert client.get(path).status_code == 200
    assert client.post(path, {"name": "pictures", "root": "/etc"}).status_code == 403
    dataset.refresh_from_db()
    assert dataset.root != "/etc"


def test_groups_hold_the_permissions_of_their_role() -> None:
    permissions = {role: Group.objects.get(name=role.group).permissions for role in Role}
    held = {role: set(found.values_list("codename", flat=True)) for role, found in permissions.items()}
    assert held[Role.LABELER] == {"label_images"}
    assert {"label_images", "manage_datasets", "change_labelclass"} <= held[Role.MANAGER]
    assert not held[Role.MANAGER] & {"administer", "change_user", "view_user", "change_dataset", "delete_dataset"}
    assert held[Role.ADMINISTRATOR] == set(Permission.objects.values_list("codename", flat=True))


def test_a_new_account_may_label() -> None:
    assert [group.name for group in User.objects.create_user("new").groups.all()] == ["Labelers"]
    assert not User.objects.create_superuser("chief").groups.exists()
