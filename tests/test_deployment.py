"""docker-compose.yml without Docker: its commands and variables, on a real PostgreSQL and a real Redis."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import tomllib
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from hoshina import health
from tests.factories import MakeFolder, new_folder, not_none
from tests.parts import ROOT, free_port, postgres_server, redis_server, require, wait_until
from tests.processes import environment

SECRETS = {
    "POSTGRES_PASSWORD": "a-password", "AL_SECRET_KEY": "k" * 60, "HOSHINA_IMAGES": "/data/images",
    "AL_ALLOWED_HOSTS": "labels.example.org,localhost", "AL_ROOTS": "/",
}  # fmt: skip


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))


def filled_in(value: str) -> str:
    """Return a value as `docker compose` sees it: ${NAME}, ${NAME:-default}, ${NAME:?message}, ${NAME:+if set}."""

    def fill(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        given = SECRETS.get(name, "")
        if not given and operator == ":?":
            raise KeyError(rest)
        if operator == ":+":
            return rest if given else ""
        return given or (rest if operator == ":-" else "")

    return re.sub(r"\$\{(\w+)(:[-?+])?([^}]*)\}", fill, value)


def test_services(compose: dict[str, Any]) -> None:
    services = compose["services"]
    ours = {"prepare", "web", "worker-interactive", "worker-heavy"}
    assert set(services) == {*ours, "backup", "redis", "database", "proxy"}
    for name, service in services.items():
        assert name == "prepare" or "test" in service["healthcheck"], name
        # Scalable: nothing that only one container may have.
        assert "container_name" not in service
        if name in {*ours, "backup"}:
            assert (service["read_only"], service["cap_drop"], service["tmpfs"]) == (True, ["ALL"], ["/tmp"])
            assert service["security_opt"] == ["no-new-privileges:true"]
            assert service["environment"]["HOME"] == "/tmp"
            assert "user" not in service, "the user of the image"
        if name in ours:
            assert filled_in(service["volumes"][1]) == "/data/images:/images:ro"
            assert service["volumes"][0] == "store:/store"
            assert filled_in(service["volumes"][2]) == "store:/weights:ro"
            assert filled_in(service["environment"]["AL_WEIGHTS_DIR"]) == ""
    for name in ("web", "worker-interactive", "worker-heavy"):
        assert services[name]["depends_on"]["prepare"]["condition"] == "service_completed_successfully"
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert {"store", "database", "certificates", "backups"} == set(compose["volumes"])


def backup_command(compose: dict[str, Any], folder: Path) -> list[str]:
    """Return the command that the service ``backup`` repeats, with another folder."""
    shell, option, script = compose["services"]["backup"]["command"]
    assert (shell, option) == ("sh", "-c")
    command = not_none(re.search(r"hoshina (backup [^;]+);", script))[1].split()
    assert command == ["backup", "--keep", "7", "/backups"]
    return ["hoshina", *command[:-1], str(folder)]


def test_a_backup_a_day_on_request(compose: dict[str, Any], tmp_path: Path) -> None:
    service = compose["services"]["backup"]
    assert service["profiles"] == ["backup"]
    assert [filled_in(volume) for volume in service["volumes"]] == ["store:/store", "backups:/backups"]
    assert "sleep 86400" in service["command"][2]
    assert backup_command(compose, tmp_path)
    kind, script = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    file = tmp_path / "hoshina-20260101-000000.zip"
    for age, code in ((None, 1), (0, 0), (25, 0), (27, 1)):
        if age is not None:
            file.touch()
            os.utime(file, (time.time() - age * 3600,) * 2)
        done = subprocess.run(["sh", "-c", script.replace("/backups", str(tmp_path))], check=False)
        assert done.returncode == code, age


def test_secrets_have_no_default(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for name in ("POSTGRES_PASSWORD", "AL_SECRET_KEY", "HOSHINA_IMAGES"):
        uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", text)
        assert uses
        assert all(use.startswith(":?") for use in uses)


def test_dockerfile() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", text, re.MULTILINE)
    assert [name for _, name in stages] == ["base", "build", ""], "the last stage is the image"
    assert re.fullmatch(r"python:3\.(11|12|13)\.\d+-slim-bookworm", stages[0][0]), "a pinned version"
    assert {base for base, _ in stages[1:]} == {"base"}
    assert re.search(r"pip install --no-cache-dir uv==\d+\.\d+\.\d+$", text, re.MULTILINE)
    _, instructions = text.rsplit("\nFROM ", 1)
    [user] = re.findall(r"^USER (.+)$", instructions, re.MULTILINE)
    assert int(user) > 0, "not root"
    assert f"useradd --system --uid {user} " in instructions
    assert "\nRUN " not in instructions.split("\nUSER ")[1], "what is installed belongs to root"
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for name in _copied(text):
        assert f"!{name}" in ignored, name
        assert (ROOT / name).exists(), name
    labels = re.findall(r"org\.opencontainers\.image\.(\w+)=", text)
    assert labels == ["title", "description", "licenses"]


def _copied(text: str) -> list[str]:
    """Return the files and folders of the checkout that a Dockerfile, or a part of it, copies."""
    return [name for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for name in line.split()]


def test_the_image_has_pinned_versions_and_the_codecs() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    [install] = re.findall(r"^RUN uv pip install -r pyproject\.toml (.+)$", text, re.MULTILINE)
    assert install == "--extra heif --extra dicom --extra tiff --constraints constraints.txt"
    assert "--extra heif --extra dicom --extra tiff" in (ROOT / ".ci" / "pin").read_text(encoding="utf-8")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    for pin in pins:
        assert re.fullmatch(r"[a-z0-9.-]+==[0-9a-z.]+( ; [^#@]+)?", pin), "a name, a version, perhaps a marker: no host"
    pinned = {pin.split("==")[0] for pin in pins}
    with (ROOT / "pyproject.toml").open("rb") as stream:
        project = tomllib.load(stream)["project"]
    extras = [name for extra in ("heif", "dicom", "tiff") for name in project["optional-dependencies"][extra]]
    required = {re.match(r"[\w-]+", name)[0] for name in (*project["dependencies"], *extras)}  # type: ignore[index]
    assert len(required) > 25
    assert required <= pinned


@pytest.mark.slow
def test_the_wheel_of_the_image_is_built_from_what_it_copies(tmp_path: Path) -> None:
    stage = (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[2]
    for name in _copied(stage):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    [build] = re.findall(r"^RUN (uv build .+)$", stage, re.MULTILINE)
    command = [str(tmp_path / "dist") if word == "/dist" else word for word in build.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {"hoshina/templates/base.html", "hoshina/static/css/base.css"} <= set(archive.namelist())


def test_one_service_builds_the_image_of_all(compose: dict[str, Any]) -> None:
    others = {"redis", "database", "proxy"}
    ours = {name: service for name, service in compose["services"].items() if name not in others}
    assert [name for name, service in ours.items() if "build" in service] == ["prepare"]
    assert {service["image"] for service in ours.values()} == {"hoshina"}
    assert {service["pull_policy"] for service in ours.values()} == {"never"}, "nobody else's image of that name"


def in_this_environment(command: list[str]) -> list[str]:
    """Return a command of the image as this checkout runs it."""
    programs = {"python": [sys.executable], "hoshina": [sys.executable, "-m", "hoshina"]}
    return [*programs[command[0]], *command[1:]]


def _dockerfile() -> tuple[dict[str, str], list[str]]:
    """Return the variables and the command of the image."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV (.+)$", text, re.MULTILINE))))
    command = not_none(re.search(r"^CMD (\[.+\])$", text, re.MULTILINE))
    return variables, json.loads(command[1])


# Makes the given folders writable and everything else read-only, then becomes the user of the image.
CONFINE = """
checkout=$1 store=$2 temporary=$3 user=$4
shift 4
for folder in "$checkout" "$store" "$temporary"; do mount --bind "$folder" "$folder"; done
for folder in "$checkout" /; do mount -o remount,bind,ro "$folder"; done
exec unshare --user --map-user="$user" --map-group="$user" setpriv --no-new-privs "$@"
"""


_PRIVATE = ["unshare", "--user", "--map-root-user", "--mount"]


def _has_namespaces() -> bool:
    """Return whether this machine lets its users have namespaces. Many containers do not, and nothing installs them."""
    has_programs = all(map(shutil.which, ("unshare", "setpriv")))
    return has_programs and subprocess.run([*_PRIVATE, "true"], check=False, capture_output=True).returncode == 0


HAS_NAMESPACES = _has_namespaces()


def confined(command: list[str], store: Path, temporary: Path) -> list[str]:
    """Return a command as a container runs it with --read-only --tmpfs /tmp --cap-drop ALL: by namespaces of Linux.

    Without them, it is the command itself.
    """
    if not HAS_NAMESPACES:
        return command
    [user] = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    return [*_PRIVATE, "sh", "-euc", CONFINE, "sh", str(ROOT), str(store), str(temporary), user, *command]


if HAS_NAMESPACES:

    def test_a_confined_command_has_no_privileges(tmp_path: Path) -> None:
        store, temporary = new_folder(tmp_path / "store"), new_folder(tmp_path / "temporary")

        def run(*command: str) -> subprocess.CompletedProcess[str]:
            words = confined(list(command), store, temporary)
            return subprocess.run(words, capture_output=True, text=True, check=False)

        status = dict(line.split(":\t", 1) for line in run("cat", "/proc/self/status").stdout.splitlines())
        assert status["Uid"].split() == ["10001"] * 4
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        for folder in (store, temporary):
            assert run("touch", str(folder / "file")).returncode == 0
            assert (folder / "file").exists()
        for folder in (ROOT, tmp_path, Path("/etc"), Path("/tmp")):
            assert "Read-only file system" in run("mktemp", str(folder / "fileXXXXXX")).stderr, folder


@pytest.mark.slow
def test_the_image_alone_is_a_whole_server(tmp_path: Path, picture_folder: MakeFolder) -> None:
    """Its very command and variables: migrated, ingested, reached by the host's name, signed in to with one link.

    It has no privileges, and writes nothing but the store and temporary files.
    """
    variables, command = _dockerfile()
    store, temporary = new_folder(tmp_path / "store"), new_folder(tmp_path / "temporary")
    port = free_port()
    variables |= {"AL_STORE_DIR": str(store), "AL_PORT": str(port), "AL_DATA_DIR": str(picture_folder(12))}
    variables |= {name: str(store / name) for name in ("KERAS_HOME", "NUMBA_CACHE_DIR")}
    variables |= {name: str(temporary) for name in ("HOME", "TMPDIR")}
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        confined(in_this_environment(command), store, temporary),
        cwd=ROOT, env=environment(**variables, AL_EMBEDDING_BACKEND="hog"), stdout=log, stderr=log,
    )  # fmt: skip
    log.close()
    try:
        pattern = rf"http://localhost:{port}(/sign-in/first/\S+)"
        wait_until(lambda: re.search(pattern, (tmp_path / "log").read_text()), why="the link for the first sign-in")
        found = not_none(re.search(pattern, (tmp_path / "log").read_text()))
        everything = {"database": True, "broker": True, "workers": {"interactive": True, "heavy": True}}
        wait_until(lambda: everything.items() <= health.ask("0.0.0.0", port)[1].items(), why="web and workers")
        _sign_in_once(f"http://localhost:{port}", found[1])
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0


def _sign_in_once(site: str, path: str) -> None:
    """Follow the link, choose a password, see the images; the link is void then, and the password signs in."""
    visitor = _Visitor(site)
    assert "/sign-in/" in visitor.open("/")[0], "nobody sees images without signing in"
    address, page = visitor.open(path)
    assert "Choose a password" in page
    password = "a long enough password"
    address, page = visitor.post(address, new_password1=password, new_password2=password)
    assert address.endswith("/d/pictures/")
    wait_until(lambda: "12" in visitor.open("/d/pictures/header/")[1], why="the images")
    assert "This link has been used" in _Visitor(site).open(path)[1]
    again = _Visitor(site)
    address, page = again.open("/sign-in/")
    address, page = again.post(address, username="admin", password=password)
    assert address.endswith("/d/pictures/")


class _Visitor:
    """A browser without scripts."""

    def __init__(self, site: str) -> None:
        self.site = site
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(), urllib.request.ProxyHandler({}))

    def open(self, path: str, data: bytes | None = None) -> tuple[str, str]:
        address = path if path.startswith("http") else self.site + path
        with self.opener.open(address, data, timeout=60) as answer:
            return answer.url, answer.read().decode()

    def post(self, address: str, **fields: str) -> tuple[str, str]:
        token = not_none(re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.open(address)[1]))
        return self.open(address, urllib.parse.urlencode({"csrfmiddlewaretoken": token[1], **fields}).encode())


@contextmanager
def caddy(compose: dict[str, Any], port: int, folder: Path) -> Iterator[str]:
    """Run Caddy with the configuration of the service ``proxy``, on other ports. Yield its address."""
    site_port, admin_port = free_port(), free_port()
    text = filled_in(compose["configs"]["caddyfile"]["content"])
    text = text.replace("localhost {", f"https://localhost:{site_port} {{\n  tls internal", 1)
    text = text.replace("web:8000", f"127.0.0.1:{port}")
    options = f"{{\n  admin localhost:{admin_port}\n  auto_https disable_redirects\n  skip_install_trust\n}}\n"
    (folder / "Caddyfile").write_text(options + text)
    home = new_folder(folder / "caddy")
    variables = {
        "XDG_DATA_HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "HOME": str(home),
        "PATH": os.environ["PATH"],
    }
    with (folder / "caddy.log").open("ab") as log:
        process = subprocess.Popen(
            ["caddy", "run", "--config", folder / "Caddyfile"], env=variables, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: _listens(site_port), why="Caddy")
        yield f"https://localhost:{site_port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _through_the_proxy(site: str, containers: "Containers") -> None:
    """Sign in through the proxy, with secure cookies; what a client claims about itself is not believed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the authority is the proxy's own
    connection = http.client.HTTPSConnection(site.removeprefix("https://"), context=context, timeout=60)
    host = {"Host": "localhost", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}

    def ask(method: str, path: str, body: str | None = None, **headers: str) -> http.client.HTTPResponse:
        connection.request(method, path, body, headers={**host, **headers})
        response = connection.getresponse()
        response.text = response.read().decode()  # type: ignore[attr-defined]
        return response

    assert ask("GET", "/").headers["Location"] == "/sign-in/?next=/"
    page = ask("GET", "/sign-in/")
    assert page.headers["Strict-Transport-Security"] == "max-age=2592000"
    cookie = page.headers["Set-Cookie"]
    assert "Secure" in cookie
    printed = containers.run("web", "hoshina", "sign_in_link", "ann", "--role", "manager", "--json")
    path = urllib.parse.urlsplit(json.loads(printed.stdout)["url"]).path
    chosen = ask("GET", path)
    jar = "; ".join(part.split(";")[0] for part in (cookie, chosen.headers["Set-Cookie"]))
    form = ask("GET", chosen.headers["Location"], Cookie=jar)
    token = not_none(re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text))[1]  # type: ignore[attr-defined]
    password = "a-long-sentence-about-stars"
    fields = {"csrfmiddlewaretoken": token, "new_password1": password, "new_password2": password}
    kind = "application/x-www-form-urlencoded"
    sent = {"Cookie": jar, "Content-Type": kind, "Referer": "https://localhost/", "Origin": "https://localhost"}
    done = ask("POST", chosen.headers["Location"], urllib.parse.urlencode(fields), **sent)
    connection.close()
    assert done.status == 302, done.text  # type: ignore[attr-defined]
    assert all("Secure" in value for value in done.headers.get_all("Set-Cookie") or [])


class Containers:
    """The services as processes: the same commands and variables, other addresses."""

    def __init__(self, compose: dict[str, Any], folder: Path, database: str, redis: str) -> None:
        self.compose = compose
        self.folder = folder
        self.port = free_port()
        self.addresses = {"AL_DATABASE_URL": database, "AL_BROKER_URL": redis, "AL_PORT": str(self.port)}
        self.addresses |= {"AL_STORE_DIR": str(folder / "store"), "KERAS_HOME": str(folder / "keras")}
        self.running: list[subprocess.Popen[bytes]] = []
        self.stop_database: Callable[[], None] = lambda: None

    def environment(self, service: str) -> dict[str, str]:
        given = {k: filled_in(str(v)) for k, v in self.compose["services"][service]["environment"].items()}
        assert set(self.addresses) <= set(given)
        # These settings know the jobs of tests/jobs as well.
        return {**environment(), **given, **self.addresses, "DJANGO_SETTINGS_MODULE": "tests.settings"}

    def run(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = in_this_environment(list(words) or self.compose["services"][service]["command"])
        return subprocess.run(
            command, cwd=ROOT, env=self.environment(service), capture_output=True, text=True, check=False
        )

    def start(self, service: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{service}.log").open("ab") as log:
            command = in_this_environment(self.compose["services"][service]["command"])
            self.running.append(
                subprocess.Popen(command, cwd=ROOT, env=self.environment(service), stdout=log, stderr=log)
            )
        return self.running[-1]

    def healthcheck(self, service: str) -> subprocess.CompletedProcess[str]:
        kind, *words = self.compose["services"][service]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(service, *words)

    def healthz(self) -> tuple[int, dict[str, Any]]:
        try:
            return health.ask("0.0.0.0", self.port, allowed="labels.example.org")
        except OSError:
            return 0, {}


@pytest.fixture
def containers(compose: dict[str, Any], tmp_path: Path) -> Iterator[Containers]:
    require("redis")
    require("postgres")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        of_the_database = stack.enter_context(ExitStack())
        database = of_the_database.enter_context(postgres_server())
        these = Containers(compose, tmp_path, database, redis.url)
        these.stop_database = of_the_database.close
        try:
            yield these
        finally:
            for process in these.running:
                process.kill()
                process.wait()


@pytest.mark.redis
@pytest.mark.postgres
def test_the_same_commands_and_variables_on_real_servers(
    containers: Containers, picture_folder: MakeFolder, tmp_path: Path
) -> None:
    prepared = containers.run("prepare")
    assert prepared.returncode == 0, prepared.stderr
    web, interactive, heavy = (containers.start(name) for name in ("web", "worker-interactive", "worker-heavy"))
    everything = {"database": True, "broker": True, "workers": {"interactive": True, "heavy": True}}
    wait_until(
        lambda: containers.healthz()[0] == 200 and everything.items() <= containers.healthz()[1].items(),
        why="web and workers",
    )
    for service in ("web", "worker-interactive", "worker-heavy"):
        checked = containers.healthcheck(service)
        assert checked.returncode == 0, (service, checked.stdout, checked.stderr)

    # A job that the web container would start runs in a worker's.
    code = f"""if True:
        import time
        from hoshina.jobs.lifecycle import enqueue
        jobs = [
            enqueue("test_chunks", params=dict(name="a", notes={str(tmp_path / "notes")!r}, n=5, pause=0.01)),
            enqueue("test_steps", params=dict(name="b", notes={str(tmp_path / "other")!r}, n=2, pause=0.01)),
        ]
        for _ in range(600):
            for job in jobs:
                job.refresh_from_db()
            if not any(job.is_active for job in jobs):
                break
            time.sleep(0.1)
        print(*[job.state for job in jobs], jobs[0].result)
    """
    done = containers.run("web", "hoshina", "shell", "-v", "0", "-c", code)
    assert done.stdout.strip() == "succeeded succeeded {'items': 50}", done.stderr

    # Images come in through a job of another container, on the mounted folder.
    folder = picture_folder(5)
    ingested = containers.run("web", "hoshina", "ingest", f"--data-dir={folder}", "--json")
    assert ingested.returncode == 0, ingested.stderr

    saved = containers.run("backup", *backup_command(containers.compose, tmp_path / "backups"))
    assert saved.returncode == 0, saved.stderr
    assert "1 dataset, 5 items" in saved.stdout

    # People come in through the proxy, and have to sign in.
    require("caddy")
    with caddy(containers.compose, containers.port, tmp_path) as site:
        _through_the_proxy(site, containers)

    interactive.kill()
    interactive.wait()
    wait_until(lambda: containers.healthz()[1]["workers"] == {"interactive": False, "heavy": True}, why="the loss")
    assert containers.healthcheck("worker-interactive").returncode == 1
    assert "No worker for interactive" in containers.healthcheck("worker-interactive").stderr

    containers.stop_database()
    wait_until(lambda: containers.healthz()[0] == 503, why="the database's loss to be told")
    assert containers.healthz()[1]["database"] is False
    assert containers.healthcheck("web").returncode == 1
    for process in (web, heavy):
        process.terminate()
        assert process.wait(timeout=60) == 0
    assert containers.healthcheck("web").returncode == 1
