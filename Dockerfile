# One image for every part of Ebb: docker-compose.yml says which module a container runs.
# Build: docker build -t ebb .

FROM python:3.11.14-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/ebb
# Dependencies first, every file of them held to its hash: they change less often than the code does.
COPY requirements/runtime.txt requirements/runtime.txt
RUN /opt/ebb/bin/pip install --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md ./
COPY requirements/runtime.in requirements/runtime.in
COPY ebb ebb
COPY ebb_cli ebb_cli
COPY producers producers
COPY stream_processors stream_processors
COPY online_ml online_ml
COPY serving serving
COPY clickhouse clickhouse
# setuptools stands in the locked requirements, so nothing unpinned is fetched to build the package.
RUN /opt/ebb/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11.14-slim-bookworm

RUN useradd --uid 10001 --create-home --home-dir /var/lib/ebb ebb
COPY --from=build /opt/ebb /opt/ebb
ENV PATH=/opt/ebb/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    ARROW_DEFAULT_MEMORY_POOL=system \
    EBB_HOME=/var/lib/ebb/data \
    EBB_LIB=/var/lib/ebb/lib \
    EBB_LOG_FORMAT=json \
    EBB_METRICS_PORT=9100
USER ebb
WORKDIR /var/lib/ebb
# The worker's machine code, for a processor like this one; on another it is made anew.
RUN mkdir data lib && python -c "import stream_processors.app"
VOLUME /var/lib/ebb/data
EXPOSE 8000 9100
# True for every part with a metrics port; the API has a deeper check of its own in docker-compose.yml.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['EBB_METRICS_PORT'] + '/metrics', timeout=4)"]
CMD ["ebb", "--help"]
