"""Connect to a server: the one of this machine, or any by its address and a token."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from hoshina_client.dataset import Dataset
from hoshina_client.errors import Refused, Unreachable
from hoshina_client.jobs import Job, jobs_of, wait_for
from hoshina_client.transport import RETRIES, Transport

# In the store of `hoshina up`, while it runs: the address of the server and a token.
ACCESS_FILE = "api.json"


def connect(
    url: str = "",
    token: str = "",
    *,
    store: str | os.PathLike[str] | None = None,
    timeout: float = 60.0,
    retries: int = RETRIES,
    verify: Any = True,
) -> Server:
    """Connect to a server, and check that it answers and accepts the token.

    Without arguments, the variables ``HOSHINA_URL`` and ``HOSHINA_TOKEN`` decide, and without them the server that
    ``hoshina up`` started on this machine is found by the file ``api.json`` in its store. The store is ``store``,
    ``AL_STORE_DIR``, a folder ``store`` in the working directory or one above, or the folder for data of the user.

    Parameters
    ----------
    url : the address of the server's first page
    token : a token of the page *Account*
    store : the folder that ``hoshina up`` prints
    timeout : seconds to wait for an answer
    retries : how often a request is sent again when the connection fails
    verify : as in httpx: an ``ssl.SSLContext`` for certificates of an own authority

    Raises
    ------
    Unreachable : if no server is found or none answers
    Refused : if the token is not valid
    """
    if not url and store is None:
        url, token = os.environ.get("HOSHINA_URL", ""), token or os.environ.get("HOSHINA_TOKEN", "")
    if not url:
        url, local_token = _local_server(store)
        token = token or local_token
    transport = Transport(url, token, timeout=timeout, retries=retries, verify=verify)
    try:
        return Server(transport, transport.get("me"))
    except BaseException:
        transport.close()
        raise


class Server:
    """Represent a server with its datasets and jobs."""

    def __init__(self, transport: Transport, me: dict[str, Any]) -> None:
        self._transport = transport
        self.url = transport.url
        self.user = str(me["user"])
        self.role = str(me["role"])
        self.scope = str(me["scope"])
        self.version = str(me["version"])

    def datasets(self) -> list[Dataset]:
        """Return all datasets by name, without those that were archived."""
        return [
            Dataset(self._transport, found) for found in self._transport.get("datasets") if not found["is_archived"]
        ]

    def dataset(self, name: str) -> Dataset:
        """Return the dataset with this name, or with this slug (its name in addresses). Raises Refused."""
        found = self._transport.get("datasets")
        for key in ("slug", "name"):
            matches = [each for each in found if each[key] == name]
            if len(matches) == 1:
                return Dataset(self._transport, matches[0])
        slugs = ", ".join(each["slug"] for each in found)
        raise Refused(
            f"There is no dataset {name!r}.", f"The datasets are: {slugs}." if slugs else "There are none.", status=404
        )

    def jobs(self, *, dataset: str | None = None, state: str | None = None, kind: str | None = None) -> list[Job]:
        """Return the 50 newest jobs, newest first."""
        return jobs_of(self._transport, dataset=dataset, state=state, kind=kind)

    def wait(self, job: Job, *, progress: bool = True, timeout: float | None = None) -> Job:
        """Wait until a job ends, and return it. Raises JobFailed if it did not succeed."""
        return wait_for(self._transport, job, progress=progress, timeout=timeout)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Server {self.url}, {self.user} ({self.role})>"


def _local_server(store: str | os.PathLike[str] | None) -> tuple[str, str]:
    """Return the address and the token of the server of this machine. Raises Unreachable."""
    folders = list(_stores()) if store is None else [Path(store).expanduser()]
    for folder in folders:
        file = folder / ACCESS_FILE
        try:
            access = json.loads(file.read_text(encoding="utf-8"))
            return str(access["url"]), str(access["token"])
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unreachable(f"{file} cannot be read ({error}).", "Restart hoshina up.") from error
    raise Unreachable(
        f"No running server was found: there is no {ACCESS_FILE} in {', '.join(map(str, folders))}.",
        "Start it with `hoshina up`, pass the folder that it prints as store=…, or pass url and token.",
    )


def _stores() -> Iterator[Path]:
    """Yield the folders in which `hoshina up` may have its store, the most specific first."""
    if named := os.environ.get("AL_STORE_DIR"):
        yield Path(named).expanduser()
        return
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "store" / ACCESS_FILE).exists():
            yield folder / "store"
    yield _user_data() / "hoshina"


def _user_data() -> Path:
    """Return the folder in which programs of the user store data, as the package platformdirs has it."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
