"""Define the WSGI application."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hoshina.settings")
_django = get_wsgi_application()

from hoshina.web.thumbs_first import thumbs_first  # noqa: E402 - needs Django to be set up

application = thumbs_first(_django)
