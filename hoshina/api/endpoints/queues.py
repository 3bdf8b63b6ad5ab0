"""List queues, and pull the next items of one."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal

from django.http import Http404
from ninja import Path, Router
from pydantic import BaseModel, Field

from hoshina.api.common import Id, JsonObject, Slug, Strict, Text, class_id_of, dataset_of
from hoshina.api.serving import Ranking, Served, pull
from hoshina.core.http import HtmxHttpRequest
from hoshina.core.roles import Role, requires
from labeling.models import Dataset
from modeling.models import EmbeddingSet
from modeling.predictions import active_model
from sampling.accuracy.report import accuracy_report
from sampling.queues.field_filter import PREFIX, conditions_of
from sampling.queues.registry import STRATEGIES
from sampling.queues.serve import missing_for
from sampling.queues.strategy import BadParameter, Strategy
from sampling.queues.views import LARGEST_PAGE

router = Router(tags=["Queues"])


class ParameterOut(BaseModel):
    """Represent a parameter of a queue."""

    name: str
    default: Any
    choices: list[str]


class QueueOut(BaseModel):
    """Represent a queue, and whether it can be pulled."""

    name: str
    title: str
    help: str
    parameters: list[ParameterOut]
    unavailable: str = Field(description="What it lacks; empty if it can be pulled.")


class PullFilters(Strict):
    """Hold the items that a pull considers; by default those without a decision."""

    state: Literal["unlabelled", "labelled", "unsure", "skipped", "changed", "any"] | None = None
    class_id: Id | None = None
    class_name: Text | None = None
    predicted_id: Id | None = None
    predicted_name: Text | None = None
    path: Annotated[Text, Field(max_length=200, description="Text that the path contains.")] = ""
    filter: Annotated[list[Text], Field(max_length=50, description="Conditions on metadata: `mass=2..5`.")] = []
    tag: Annotated[Text, Field(max_length=40)] = ""
    flagged: bool = False
    noted: bool = False


class Pull(Strict):
    """Represent a request for the next items of a queue."""

    n: int = Field(50, ge=1, le=LARGEST_PAGE)
    params: dict[Text, str | int | float | bool] = Field(
        {}, max_length=20, description="Parameters of the queue, such as `low` and `high` of band."
    )
    filters: PullFilters = PullFilters()
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="The same seed and labels give the same ranking.")
    round: Id | None = Field(None, description="Continue this round, from `offset` on, with the filters it has.")
    offset: int = Field(0, ge=0, le=2**31 - 1)
    window: Annotated[str, Field(max_length=20, pattern=r"^[\w.-]*$")] = Field(
        "", description="A name for one of several places that show items at once: each gets other items."
    )


@router.get("/datasets/{slug:slug}/queues", url_name="queues", response=list[QueueOut], summary="List queues")
def queues(request: HtmxHttpRequest, slug: Slug) -> list[QueueOut]:
    """Return all queues with their parameters, and what those lack that cannot be pulled yet."""
    dataset = dataset_of(slug)
    has_model = active_model(dataset) is not None
    has_vectors = EmbeddingSet.objects.filter(dataset=dataset, is_active=True, generation__gt=0).exists()
    return [
        QueueOut(
            name=queue.name,
            title=queue.title,
            help=queue.help,
            parameters=[
                ParameterOut(name=each.name, default=each.default, choices=list(queue.choices.get(each.name, ())))
                for each in fields(queue.params)
            ],
            unavailable=missing_for(queue, has_model=has_model, has_vectors=has_vectors),
        )
        for queue in STRATEGIES.values()
    ]


@router.post(
    "/datasets/{slug:slug}/queues/{str:name}/pull", url_name="pull", response={200: Served, 202: Ranking},
    summary="Pull a queue",
)  # fmt: skip
@requires(Role.LABELER)
def pull_queue(
    request: HtmxHttpRequest, slug: Slug, name: Annotated[str, Path(description="The name of the queue.")], body: Pull
) -> Any:
    """Return the next items of a queue, and reserve them for 15 minutes, so that nobody else labels them.

    Another pull without `round` releases the items of the one before. Send each decision with the `round` and the
    `rank` of its item: it then keeps queue, score and selection probability, and draws of Audit count for the accuracy.
    """
    dataset = dataset_of(slug)
    if name not in STRATEGIES:
        raise Http404(f"There is no queue {name!r}. The queues are {', '.join(STRATEGIES)}.")
    before = None if body.round is None else dataset.rounds.filter(pk=body.round, queue=name).first()
    if body.round is not None and before is None:
        raise Http404(f"There is no round {body.round} of this queue. Rounds are deleted after a while: pull again.")
    texts = _params(STRATEGIES[name], body.params) | _filters(dataset, body.filters)
    texts |= {} if body.seed is None else {"seed": str(body.seed)}
    return pull(
        request, dataset, name, texts, n=body.n, window=body.window, before=before, offset=body.offset
    )  # fmt: skip


def _params(strategy: Strategy, params: dict[str, Any]) -> JsonObject:
    names = [each.name for each in fields(strategy.params)]
    if unknown := sorted(params.keys() - set(names)):
        takes = f"It takes {', '.join(names)}." if names else "It takes none."
        raise BadParameter(f"{strategy.title} has no parameter {unknown[0][:60]!r}.", takes, "params")
    return {name: str(value) for name, value in params.items()}


def _filters(dataset: Dataset, filters: PullFilters) -> JsonObject:
    label_id = class_id_of(dataset, filters.class_id, filters.class_name)
    predicted_id = class_id_of(dataset, filters.predicted_id, filters.predicted_name, "predicted_name")
    texts = {
        "state": filters.state or "",
        "label": str(label_id or ""),
        "predicted": str(predicted_id or ""),
        "path": filters.path,
        "tag": filters.tag,
        "flagged": "1" if filters.flagged else "",
        "noted": "1" if filters.noted else "",
    }
    found: JsonObject = {name: text for name, text in texts.items() if text}
    return found | {PREFIX + each.name: list(each.values) for each in conditions_of(filters.filter)}


@router.get("/datasets/{slug:slug}/accuracy", url_name="accuracy", response=JsonObject, summary="Get the accuracy")
def accuracy(request: HtmxHttpRequest, slug: Slug) -> JsonObject:
    """Return the audited accuracy of the newest model with its interval, a forecast, and the cost of sweeps.

    The keys are those of `hoshina accuracy --json`. `accuracy` is null until enough images of Audit are labeled.
    """
    return accuracy_report(dataset_of(slug)).as_json()
