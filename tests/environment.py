"""Set the environment of the tests, as a plugin of pytest: pytest-django reads the settings before conftest.py."""

import os
import tempfile

# Tests never touch the developer's own store.
os.environ["AL_STORE_DIR"] = tempfile.mkdtemp(prefix="hoshina-tests-")
for _name in ("AL_DATA_DIR", "AL_DB_PATH", "AL_BROKER_URL", "AL_LOGIN", "AL_HOST"):
    os.environ.pop(_name, None)
os.environ["AL_TOKEN"] = "0"  # tests of signing in turn it on
# Checks for near-duplicates begin where tests of them ask for it. Servers that tests start by `up` begin them as usual.
os.environ["AL_AUTOMATIC_LEAKAGE_CHECKS"] = "0"
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright's loop and the ORM share a thread in browser tests
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
