"""Add the permissions of the roles, and put everyone who has an account into the group that fits it best."""

from django.conf import settings
from django.db import migrations


def give_roles(apps, schema_editor):
    Group = apps.get_model("auth", "Group")
    User = apps.get_model("auth", "User")
    for user in User.objects.filter(is_superuser=False):
        name = "Administrators" if user.is_staff else "Labelers"
        group, _ = Group.objects.get_or_create(name=name)
        user.groups.add(group)


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("labeling", "0012_verbose_names"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="dataset",
            options={
                "ordering": ["name"],
                "permissions": (
                    ("label_images", "Can look at images and label them"),
                    ("manage_datasets", "Can manage classes, fields, encoders, models, jobs, imports and exports"),
                    ("administer", "Can add folders and model files, and manage people"),
                ),
            },
        ),
        migrations.RunPython(give_roles, migrations.RunPython.noop),
    ]
