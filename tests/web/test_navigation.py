"""Test the menu of pages, from which Ctrl-K finds them too."""

import re

import pytest
from django.test import Client

from hoshina.core.roles import Role
from tests.factories import MakeDataset, text
from tests.people import account

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("role", [Role.LABELER, Role.MANAGER])
def test_disk_account_and_api_are_in_the_menu_for_everybody_who_may_open_them(
    make_dataset: MakeDataset, role: Role
) -> None:
    make_dataset(3)
    client = Client()
    client.force_login(account(role))
    menu = text(client.get("/d/pictures/")).partition('<nav id="nav"')[2].partition("</nav>")[0]
    for path in ("/disk/", "/account/", "/api/docs"):
        assert re.search(rf'<a [^>]*href="{path}"', menu)
        assert client.get(path).status_code == 200
