# All in one container, with an embedded database and broker:
#     docker build -t hoshina .
#     docker run -p 8000:8000 -e AL_DATA_DIR=/data -v /path/to/images:/data:ro -v hoshina:/store hoshina
# The log prints a link for the first sign-in. For a server with PostgreSQL and Redis see docker-compose.yml.
FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/venv \
    PATH=/opt/venv/bin:$PATH

WORKDIR /app

# The dependencies first: they change less often than the code.
COPY pyproject.toml uv.lock* ./
RUN pip install --no-cache-dir uv && uv sync --no-dev && rm -rf /root/.cache

COPY manage.py README.md LICENSE ./
COPY hoshina hoshina
COPY labeling labeling
COPY modeling modeling
COPY sampling sampling
COPY templates templates
COPY static static

RUN useradd --system --uid 10001 --create-home hoshina \
    && mkdir /store /images /data \
    && chown hoshina /store
USER hoshina

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

CMD ["python", "manage.py", "up", "--no-browser"]
