from django.db import migrations, models

# Of these formats some files are shown otherwise since this version. The next ingest reads them again, and finds which.
REVISED = ("TIFF", "DICOM", "FITS")


def read_again(apps, schema_editor):
    apps.get_model("labeling", "Frame").objects.filter(format__in=REVISED).update(revision=None)


class Migration(migrations.Migration):

    dependencies = [
        ("labeling", "0008_thumbs_folder"),
    ]

    operations = [
        migrations.AddField(
            model_name="frame",
            name="note",
            field=models.CharField(blank=True, default="", max_length=300),
        ),
        migrations.AddField(
            model_name="frame",
            name="revision",
            field=models.PositiveSmallIntegerField(default=0, null=True),
        ),
        migrations.AddIndex(
            model_name="frame",
            index=models.Index(
                condition=models.Q(("note", ""), _negated=True), fields=["dataset", "path"], name="frame_note"
            ),
        ),
        # Last, since PostgreSQL alters no table with changes that wait.
        migrations.RunPython(read_again, migrations.RunPython.noop, elidable=True),
    ]
