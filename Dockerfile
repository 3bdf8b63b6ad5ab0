# All in one container, with an embedded database and broker:
#     docker build -t hoshina .
#     docker run -p 8000:8000 -e AL_DATA_DIR=/data -v /path/to/images:/data:ro -v hoshina:/store hoshina
# The log prints a link for the first sign-in. For a server with PostgreSQL and Redis see docker-compose.yml.
FROM python:3.12.12-slim-bookworm AS base

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1 \
    UV_SYSTEM_PYTHON=1

RUN pip install --no-cache-dir uv==0.13.9

FROM base AS build

WORKDIR /source
# The documentation, which the application serves at /docs/.
COPY pyproject.toml mkdocs.yml ./
COPY docs docs
RUN uv pip install --group docs && zensical build --strict --clean
COPY hatch_build.py README.md LICENSE ./
COPY hoshina hoshina
COPY labeling labeling
COPY modeling modeling
COPY sampling sampling
COPY templates templates
COPY static static
RUN uv build --wheel --out-dir /dist

FROM base

LABEL org.opencontainers.image.title="HOSHINA" \
      org.opencontainers.image.description="From a folder of unlabeled images to a trusted training set" \
      org.opencontainers.image.licenses="MIT"

WORKDIR /app

# The dependencies first: they change less often than the code.
COPY pyproject.toml constraints.txt ./
RUN uv pip install -r pyproject.toml --extra heif --extra dicom --extra tiff --constraints constraints.txt

COPY --from=build /dist /dist
COPY manage.py ./
RUN uv pip install --no-deps /dist/*.whl

RUN useradd --system --uid 10001 --create-home hoshina \
    && mkdir /store /images /data /backups \
    && chown hoshina /store /backups
# By its number, so that Kubernetes can tell that it is not root.
USER 10001

# Reachable from the host, so people sign in. Other names than localhost: -e AL_ALLOWED_HOSTS=labels.example.org
ENV AL_STORE_DIR=/store \
    AL_HOST=0.0.0.0 \
    AL_PORT=8000 \
    AL_ALLOWED_HOSTS=localhost,127.0.0.1,[::1] \
    AL_LOGIN=1 \
    KERAS_HOME=/store/keras \
    NUMBA_CACHE_DIR=/store/numba
VOLUME /store
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["python", "-m", "hoshina.health"]

CMD ["hoshina", "up", "--no-browser"]
