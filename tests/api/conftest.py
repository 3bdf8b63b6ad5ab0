"""A dataset on a server where people sign in, and a program of a manager."""

from pathlib import Path
from typing import Any

import pytest

from hoshina.api import rate_limit
from hoshina.core.roles import Role
from labeling.models import Dataset
from tests.api.clients import Program
from tests.factories import MakeDataset
from tests.people import account


@pytest.fixture
def dataset(make_dataset: MakeDataset, settings: Any, store: Path) -> Dataset:
    settings.LOGIN_REQUIRED = True
    rate_limit.forget()
    return make_dataset(20)


@pytest.fixture
def program(dataset: Dataset) -> Program:
    return Program(account(Role.MANAGER))
