"""Programs that use the API, in this process."""

from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from hoshina.api import tokens


class Program:
    """Represent a program with a token of a person."""

    def __init__(self, user: User, scope: str = "write", name: str = "test") -> None:
        self.token, self.text = tokens.issue(user, name, scope=scope)
        self.client = Client(enforce_csrf_checks=True)

    def get(self, path: str, /, **query: Any) -> Any:
        return self.client.get(f"/api/v1/{path}", query, headers=self.headers)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        more.setdefault("content_type", "application/json")
        return self.client.post(f"/api/v1/{path}", {} if body is None else body, headers=self.headers, **more)

    def patch(self, path: str, body: Any) -> Any:
        content = "application/json"
        return self.client.patch(f"/api/v1/{path}", body, content_type=content, headers=self.headers)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}


def read(response: Any, status: int = 200) -> Any:
    """Return the JSON of an answer, and check its status."""
    assert response.status_code == status, (response.status_code, response.content[:2000])
    return response.json()


def problem(response: Any, status: int) -> Any:
    """Return a problem, and check its form."""
    body = read(response, status)
    assert response["Content-Type"] == "application/problem+json"
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in response.content.decode()
    return body
