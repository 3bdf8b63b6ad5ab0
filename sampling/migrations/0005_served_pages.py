"""Record which pages were served, and find out which of the labels so far were random draws."""

import django.db.models.deletion
import numpy as np
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

AUDIT_QUEUES = ("audit", "auto/audit")
UNFILTERED = {"state": "unlabelled", "label": None, "predicted": None}
BATCH = 500


def mark_random_draws(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Mark the labels of the audit whose round ranked that item there; what browsers merely claimed is left out."""
    database = schema_editor.connection.alias
    annotations = apps.get_model("labeling", "Annotation").objects.using(database)
    rounds = apps.get_model("sampling", "Round").objects.using(database)
    claimed = annotations.filter(queue__in=AUDIT_QUEUES, previous=None, round_id__isnull=False)
    for round_id in list(claimed.order_by().values_list("round_id", flat=True).distinct()):
        round_ = rounds.filter(pk=round_id).first()
        if round_ is None or round_.params.get("filters", UNFILTERED) != UNFILTERED:
            continue
        mine = claimed.filter(round_id=round_id, item__dataset=round_.dataset_id)
        facts = mine.values_list("pk", "queue", "rank", "item__row")
        true = [pk for pk, queue, rank, row in facts if _is_ranked(round_, queue, rank, row)]
        for start in range(0, len(true), BATCH):
            annotations.filter(pk__in=true[start : start + BATCH]).update(is_random_draw=True)


def _is_ranked(round_, queue: str, rank: int | None, row: int) -> bool:
    rows = np.frombuffer(round_.rows, "<i8")
    if rank is None or rank >= len(rows) or rows[rank] != row:
        return False
    source = round_.reasons[round_.sources[rank] if round_.sources else 0][0] if round_.reasons else ""
    return queue == (f"{round_.queue}/{source}" if source else round_.queue)


class Migration(migrations.Migration):
    dependencies = [
        ("labeling", "0010_random_draws_and_leases"),
        ("sampling", "0004_sweep_checks"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ServedPage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("first_rank", models.PositiveIntegerField()),
                ("last_rank", models.PositiveIntegerField()),
                ("ranks", models.BinaryField()),
                ("item_ids", models.BinaryField()),
                ("suggested_ids", models.BinaryField()),
                ("suggested_probabilities", models.BinaryField()),
                ("model_version_id", models.BigIntegerField(null=True)),
                ("served_at", models.DateTimeField(auto_now_add=True)),
                (
                    "round",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pages",
                        to="sampling.round",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [models.Index(fields=["round", "user", "first_rank"], name="served_page_ranks")],
            },
        ),
        migrations.RunPython(mark_random_draws, migrations.RunPython.noop),
    ]
