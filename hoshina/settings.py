"""Configure Django. Everything that may differ between machines comes from ``AL_*`` variables (see .env.example)."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sys
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import dj_database_url
import platformdirs
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from hoshina.core import env

# -- Where things are ---------------------------------------------------------------------------
# The packages are in BASE_DIR. In a checkout, templates/, static/, site/ and LICENSE are there as well; a wheel has
# them inside the package `hoshina` (hatch_build.py).
_PACKAGE_DIR = Path(__file__).resolve().parent
BASE_DIR = _PACKAGE_DIR.parent
IS_INSTALLED = (_PACKAGE_DIR / "templates").is_dir()
RESOURCES_DIR = _PACKAGE_DIR if IS_INSTALLED else BASE_DIR
COMMAND = "hoshina" if IS_INSTALLED else "uv run hoshina"  # how people call it in a terminal
STORE_DIR = env.path(
    "AL_STORE_DIR", platformdirs.user_data_path("hoshina", appauthor=False) if IS_INSTALLED else BASE_DIR / "store"
)
DATA_DIR = env.optional_path("AL_DATA_DIR")
WEIGHTS_DIR = env.optional_path("AL_WEIGHTS_DIR")
# The folders under which datasets may lie; empty: anywhere.
ROOTS = [Path(root).expanduser().absolute() for root in env.words("AL_ROOTS")]
if relative := [root for root in env.words("AL_ROOTS") if not Path(root).expanduser().is_absolute()]:
    raise ImproperlyConfigured(f"AL_ROOTS holds {relative[0]!r}; expected full paths, separated by commas.")
_ENCODERS = (
    "auto", "tensorflow", "torch", "mobilenet_v2", "efficientnet_b0", "efficientnet_lite2", "resnet50", "resnet18",
    "patches", "hog", "hog+scattering", "hog+patches", "mobilenet_v2+hog", "efficientnet_lite2+mobilenet_v2+hog",
)  # fmt: skip
# Whether new embeddings get maps without a request.
AUTOMATIC_MAPS = env.boolean("AL_AUTOMATIC_MAPS", default=True)
# Whether new embeddings of labeled datasets are followed by a check for near-duplicates.
AUTOMATIC_LEAKAGE_CHECKS = env.boolean("AL_AUTOMATIC_LEAKAGE_CHECKS", default=True)
EMBEDDING_BACKEND = env.text("AL_EMBEDDING_BACKEND", "auto")
if EMBEDDING_BACKEND not in _ENCODERS and not all(
    part in _ENCODERS[1:]
    or re.fullmatch(r"(file|timm):.+", part)
    or entry_points(group="hoshina.encoders", name=part)  # of another package
    for part in EMBEDDING_BACKEND.split("+")
):
    raise ImproperlyConfigured(
        f"AL_EMBEDDING_BACKEND is {EMBEDDING_BACKEND!r}; expected one of {', '.join(_ENCODERS)}, file: and the name of "
        "a model file, timm: and that of a model, or several of these joined by plus signs."
    )
# Limits for opening one file, and for the disk space of cached pictures in the store.
DECODE_SECONDS = env.integer("AL_DECODE_SECONDS", 120, minimum=1, maximum=86_400)
DECODE_MEGABYTES = env.integer("AL_DECODE_MB", 4096, minimum=128, maximum=1_048_576)
# Limits for loading a model file, and for encoding a batch of images with it.
MODEL_SECONDS = env.integer("AL_MODEL_SECONDS", 600, minimum=1, maximum=86_400)
MODEL_MEGABYTES = env.integer("AL_MODEL_MB", 8192, minimum=2048, maximum=1_048_576)
SQUARES_MEGABYTES = env.integer("AL_SQUARES_MB", 2048, minimum=0, maximum=16_777_216)
THUMBNAILS_MEGABYTES = env.integer("AL_THUMBNAILS_MB", 4096, minimum=16, maximum=16_777_216)


def _make_folder(folder: Path, variable: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{variable} needs the folder {folder}, which cannot be created ({error.strerror}). "
            "Choose one that is writable."
        ) from error


def _saved_secret_key() -> str:
    """Return a secret key that is generated once and saved in the store, readable only by its owner."""
    _make_folder(STORE_DIR, "AL_STORE_DIR")
    file = STORE_DIR / "secret_key"
    try:
        return file.read_text(encoding="ascii")
    except FileNotFoundError:
        key = secrets.token_urlsafe(48)
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(f"The secret key in {file} cannot be read ({error}).") from error
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process of the same `up` was faster
        return file.read_text(encoding="ascii")
    except OSError as error:
        raise ImproperlyConfigured(
            f"AL_STORE_DIR is {STORE_DIR}, which is not writable ({error.strerror}). Choose another folder."
        ) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(key)
    return key


# -- Access ---------------------------------------------------------------------------------------
DEBUG = env.boolean("AL_DEBUG", default=False)
HOST = env.text("AL_HOST", "127.0.0.1")
PORT = env.integer("AL_PORT", 8000, minimum=0, maximum=65535)
LOCAL_ONLY = HOST in {"127.0.0.1", "localhost", "::1"}
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
ALLOWED_HOSTS = env.words("AL_ALLOWED_HOSTS", _LOCAL_NAMES)
CSRF_TRUSTED_ORIGINS = env.words("AL_TRUSTED_ORIGINS")
BEHIND_HTTPS = env.boolean("AL_HTTPS", default=False)
if wrong := [host for host in ALLOWED_HOSTS if "/" in host]:
    raise ImproperlyConfigured(
        f"AL_ALLOWED_HOSTS holds {wrong[0]!r}; expected host names only, such as labels.example.org."
    )
if wrong := [origin for origin in CSRF_TRUSTED_ORIGINS if not origin.startswith(("http://", "https://"))]:
    raise ImproperlyConfigured(
        f"AL_TRUSTED_ORIGINS holds {wrong[0]!r}; expected addresses with their scheme, such as https://labels.example.org."
    )
# The internal location by which nginx sends cached thumbnails itself (X-Accel-Redirect).
ACCEL_REDIRECT = env.text("AL_ACCEL_REDIRECT")
if ACCEL_REDIRECT and not re.fullmatch(r"/[A-Za-z0-9_/-]+/", ACCEL_REDIRECT):
    raise ImproperlyConfigured(
        f"AL_ACCEL_REDIRECT holds {ACCEL_REDIRECT!r}; expected the internal location of nginx with a slash at both "
        "ends, such as /cached-thumbnails/."
    )
# A proxy on this machine may let others in: then the allowed names are not only those of this machine.
_is_reached_by_others = not LOCAL_ONLY or BEHIND_HTTPS or not set(ALLOWED_HOSTS) <= set(_LOCAL_NAMES)
LOGIN_REQUIRED = env.boolean("AL_LOGIN", default=_is_reached_by_others)
# Without passwords, browsers sign in by a link that only the user of this machine can read.
TOKEN_REQUIRED = not LOGIN_REQUIRED and env.boolean("AL_TOKEN", default=True)
_given_key = env.secret("AL_SECRET_KEY")
SECRET_KEY = _given_key or _saved_secret_key()
_SHORTEST_KEY = 32
if not LOCAL_ONLY:
    missing = [
        why
        for why in (
            ""
            if not _given_key or len(_given_key) >= _SHORTEST_KEY
            else f"AL_SECRET_KEY (or AL_SECRET_KEY_FILE) of {_SHORTEST_KEY} characters or more, or none",
            "" if env.text("AL_ALLOWED_HOSTS") else "AL_ALLOWED_HOSTS",
            "" if LOGIN_REQUIRED else "AL_LOGIN=1",
        )
        if why
    ]
    if missing:
        raise ImproperlyConfigured(
            f"AL_HOST={HOST} accepts connections from other machines, which also needs {', '.join(missing)}."
        )

CSRF_FAILURE_VIEW = "hoshina.core.http.csrf_failure"
# Requests to the API by one token or session in a minute; 0: any number.
API_RATE = env.integer("AL_API_RATE", 1200, minimum=0, maximum=1_000_000)
SESSION_COOKIE_AGE = 60 * 60 * 24 * env.integer("AL_SESSION_DAYS", 90, minimum=1, maximum=3650)
if not LOGIN_REQUIRED:
    # Cookies are shared by all ports of a machine: each store has its own, or two would sign each other's browser out.
    SESSION_COOKIE_NAME = f"sessionid_{hashlib.sha256(SECRET_KEY.encode()).hexdigest()[:8]}"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_HTTPS else None
# Browsers that have seen the site by HTTPS use nothing else for this long.
SECURE_HSTS_SECONDS = env.integer("AL_HSTS_SECONDS", 30 * 24 * 3600, minimum=0, maximum=63_072_000) * BEHIND_HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]  # fmt: skip
# After this many failures for one name from one address, the combination is refused for a while (django-axes).
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = env.integer("AL_SIGN_IN_FAILURES", 10, minimum=1, maximum=1000)
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "registration/locked_out.html"
AXES_CLIENT_IP_CALLABLE = "hoshina.core.http.client_address"
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username"]  # some people type their password there

# -- The application ------------------------------------------------------------------------------
ROOT_URLCONF = "hoshina.urls"
WSGI_APPLICATION = "hoshina.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "hoshina.apps.HoshinaAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "axes",
    "django_htmx",
    "csp",
    "hoshina",
    "hoshina.jobs",
    "hoshina.api",
    "labeling",
    "modeling",
    "sampling",
]
MIDDLEWARE = [
    "hoshina.core.logs.request_id_middleware",
    "hoshina.core.http.head_middleware",
    "hoshina.core.database_file.database_file_middleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Before the user of this machine is signed in: a program needs no session.
    "hoshina.api.bearer.bearer_middleware",
    "hoshina.core.http.local_user_middleware",
    # Before the check of CSRF tokens, which parses the body of forms.
    "hoshina.core.http.AccessMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "axes.middleware.AxesMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [RESOURCES_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "labeling.views.datasets.dataset_menu",
            ],
        },
    }
]
# Class colors are user data and reach the page as style="--c:#…", hence unsafe-inline for styles only.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF, "'unsafe-inline'"],
        "img-src": [SELF, "data:", "blob:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# -- Data -----------------------------------------------------------------------------------------
DATABASE_URL = env.text("AL_DATABASE_URL")
_databases: dict[str, Any] = {}
if DATABASE_URL:
    try:
        _databases["default"] = dict(dj_database_url.parse(DATABASE_URL, conn_max_age=600, conn_health_checks=True))
    except (ValueError, KeyError) as error:
        raise ImproperlyConfigured(
            "AL_DATABASE_URL is malformed; expected postgresql://user:password@host:port/name."
        ) from error
    if not _databases["default"]["ENGINE"].endswith("postgresql"):
        raise ImproperlyConfigured(
            "AL_DATABASE_URL has to be a postgresql:// address; for SQLite set AL_DB_PATH instead."
        )
else:
    _db_path = env.path("AL_DB_PATH", STORE_DIR / "app.db")
    _make_folder(_db_path.parent, "AL_DB_PATH")
    _databases["default"] = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(_db_path),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            # FULL: a label once acknowledged is on disk, not only in the system's cache (ADR 0001).
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536; "
                "PRAGMA temp_store=MEMORY; PRAGMA mmap_size=268435456;"
            ),
        },
    }
DATABASES = _databases

# Pictures that a queue shows next are rendered before they are requested.
MAKE_AHEAD = True

# -- Background work ------------------------------------------------------------------------------
BROKER_URL = env.text("AL_BROKER_URL")
if BROKER_URL and not BROKER_URL.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured(
        f"AL_BROKER_URL is {BROKER_URL!r}; expected redis://host:port/number, or nothing for the embedded broker."
    )
BROKER_DIR = STORE_DIR / "broker"
# Seconds, in order: minimum between saves of progress; between heartbeats of a running job; without a heartbeat until a
# job counts as dead; until a queued job that no worker took is sent again; between requests for helpers; until a
# stopping worker requeues its job.
JOB_PROGRESS = 0.5
JOB_HEARTBEAT = 5.0
JOB_STALE = 30.0
JOB_RESEND = 10.0
JOB_HELP = 30.0
JOB_GRACE = 4.0
JOB_ATTEMPTS = 3
JOB_DATASET_MODEL = "labeling.Dataset"  # the model that a job's dataset_id refers to; only its name is read
CELERY_BROKER_URL = BROKER_URL or "files://localhost"
CELERY_BROKER_TRANSPORT = None if BROKER_URL else "hoshina.jobs.broker:Transport"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    # Nobody waits long for a broker that is unavailable: the job's row stays queued instead.
    {"socket_connect_timeout": 2, "socket_timeout": 5, "max_retries": 0}
    if BROKER_URL
    else {"folder": str(BROKER_DIR), "polling_interval": 0.05}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "interactive"
CELERY_WORKER_POOL = "solo"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False  # the state is in the job's row
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_ENABLE_UTC = True
CELERY_TIMEZONE = "UTC"

# -- Language, time zone, static files ------------------------------------------------------------
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
STATIC_URL = "static/"
STATICFILES_DIRS = [RESOURCES_DIR / "static"]
# Static files are served from their folders, without collectstatic.
WHITENOISE_USE_FINDERS = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024

METRICS_TOKEN = env.secret("AL_METRICS_TOKEN")
if METRICS_TOKEN:
    MIDDLEWARE.insert(1, "hoshina.web.metrics.metrics_middleware")
SENTRY_DSN = env.secret("AL_SENTRY_DSN")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "hoshina.core.logs.LineFormatter"},
        "json": {"()": "hoshina.core.logs.JsonFormatter"},
    },
    "filters": {
        "repetition": {"()": "hoshina.core.logs.RepetitionFilter"},
        "no_traceback": {"()": "hoshina.core.logs.TracebackFilter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": env.choice("AL_LOG_FORMAT", "line", options=("line", "json")),
            "filters": ["repetition"],
            "stream": sys.stderr,
        }
    },
    "loggers": {
        # Logged whenever there are more requests than threads, which is normal.
        "waitress.queue": {"level": "ERROR"},
        # Anyone can request another host.
        "django.security.DisallowedHost": {"filters": ["no_traceback"]},
        "hoshina.access": {"level": "INFO" if env.boolean("AL_ACCESS_LOG", default=False) else "WARNING"},
    },
    "root": {
        "handlers": ["console"],
        "level": env.choice("AL_LOG_LEVEL", "WARNING", options=("DEBUG", "INFO", "WARNING", "ERROR")),
    },
}
