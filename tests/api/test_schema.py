"""Requests that schemathesis makes up from the description of the API: answers fit it, and none is an internal error.

``HOSHINA_FUZZ=100`` tries that many requests for each address.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks

from hoshina.api.models import Token
from hoshina.api.openapi import schema
from hoshina.core.roles import Role
from hoshina.wsgi import application
from labeling.models import Dataset
from tests.api.clients import Program
from tests.factories import decide
from tests.people import account
from tests.sampling.factories import add_model, two_class

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
EXAMPLES = int(os.environ.get("HOSHINA_FUZZ", "5"))
load_all_checks()


@pytest.fixture
def administrator(dataset: Dataset, settings: Any, ranked_at_once: None) -> Program:
    """Provide a program that may do everything, and a dataset with labels and predictions."""
    settings.API_RATE = 0
    add_model(dataset, two_class([0.7] * 20))
    decide(dataset, "assign", range(6), "cat")
    return Program(account(Role.ADMINISTRATOR))


LABELS = [f"{method.upper()} {path}" for path, methods in schema()["paths"].items() for method in methods]


@pytest.mark.parametrize("label", LABELS)
def test_answers_fit_the_description(label: str, administrator: Program, store: Path) -> None:
    api = schemathesis.openapi.from_wsgi("/api/openapi.json", application, headers=administrator.headers)
    (operation,) = (found.ok() for found in api.get_all_operations() if found.ok().label == label)
    # Valid requests may be refused by what a dataset holds, such as classes.
    excluded = [schemathesis.checks.CHECKS.get_one("positive_data_acceptance")]

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(operation.as_strategy(mode) for mode in schemathesis.GenerationMode))
    def try_it(case: Any) -> None:
        if "slug" in case.path_parameters:
            case.path_parameters["slug"] = "pictures"
        case.call_and_validate(headers=administrator.headers, excluded_checks=excluded)

    try_it()
    assert Token.objects.filter(pk=administrator.token.pk).exists()
