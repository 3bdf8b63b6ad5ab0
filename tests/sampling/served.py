"""Labels sent as the workbench sends them: with the round and the rank that the page was given."""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from django.test import Client

from labeling.models import Dataset
from sampling.queues.deal import Tile


def action_on(tiles: Sequence[Tile], label: int | None, **more: Any) -> dict[str, Any]:
    """Return one key press on these tiles."""
    return {
        "uuid": str(uuid.uuid4()),
        "kind": "assign",
        "label": label,
        "at": "2026-01-02T03:04:05Z",
        "suggestion_shown": True,
        "items": [
            {"id": tile.item.pk, "seen": tile.item.newest_annotation_id, "shown": json.loads(tile.shown_json)}
            for tile in tiles
        ],
    } | more


def send(client: Client, dataset: Dataset, *actions: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"/d/{dataset.slug}/annotate/", json.dumps({"actions": actions}), "application/json")
    assert answer.status_code == 200, answer.content
    found = answer.json()
    assert isinstance(found, dict)
    return found


def label_tiles(client: Client, dataset: Dataset, tiles: Sequence[Tile], name: str = "cat") -> dict[str, Any]:
    """Label the tiles and return the answer."""
    return send(client, dataset, action_on(tiles, dataset.classes.get(name=name).pk))
