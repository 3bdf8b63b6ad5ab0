"""Mark random draws, give leases to people, and store a hash in place of the session key of each action."""

import hashlib

import django.db.models.deletion
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

SESSION_KEY_CHARS = 32


def hash_holders(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Replace session keys by what hoshina.http.holder makes of them, so that older actions can still be undone."""
    actions = apps.get_model("labeling", "Action").objects.using(schema_editor.connection.alias)
    holders = actions.exclude(holder="").order_by().values_list("dataset", "holder").distinct()
    for dataset, holder in list(holders):
        if len(holder) == SESSION_KEY_CHARS and holder.isalnum():
            hashed = hashlib.sha256(holder.encode()).hexdigest()[:40]
            actions.filter(dataset=dataset, holder=holder).update(holder=hashed)


def drop_leases(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Delete the leases, which last a quarter of an hour and belong to nobody yet."""
    apps.get_model("labeling", "Lease").objects.using(schema_editor.connection.alias).all().delete()


class Migration(migrations.Migration):
    dependencies = [
        ("labeling", "0009_frame_revision_and_note"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(drop_leases, migrations.RunPython.noop),
        migrations.RunPython(hash_holders, migrations.RunPython.noop),
        migrations.AddField(
            model_name="lease",
            name="user",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="annotation",
            name="is_random_draw",
            field=models.BooleanField(null=True),
        ),
        migrations.AddIndex(
            model_name="annotation",
            index=models.Index(
                condition=models.Q(("is_random_draw", True)), fields=["item"], name="annotation_random_draw"
            ),
        ),
    ]
