from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("modeling", "0011_leakage_check")]

    operations = [
        migrations.AddField("leakagecheck", "compared_generation", models.PositiveIntegerField(default=0)),
        migrations.AddField("leakagecheck", "source", models.CharField(blank=True, default="", max_length=64)),
    ]
