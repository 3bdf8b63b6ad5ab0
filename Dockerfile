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
    && mkdir /store /images \
    && chown hoshina /store
USER hoshina
ENV AL_STORE_DIR=/store
VOLUME /store
EXPOSE 8000

CMD ["python", "manage.py", "serve"]
