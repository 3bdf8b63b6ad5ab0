from django.db import migrations, models

# What sets made so far were made by: names for people, and the registry's.
KNOWN = {"MobileNetV2": "mobilenet_v2", "HOG + colour": "hog"}


def name_backends(apps, schema_editor):
    sets = apps.get_model("modeling", "EmbeddingSet").objects
    for encoder, backend in KNOWN.items():
        sets.filter(encoder=encoder, backend="").update(backend=backend)


class Migration(migrations.Migration):
    dependencies = [("modeling", "0002_versions_and_choices")]

    operations = [
        migrations.AddField(
            model_name="embeddingset",
            name="backend",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.RunPython(name_backends, migrations.RunPython.noop),
    ]
