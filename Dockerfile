# syntax=docker/dockerfile:1
# The service of one manifest: docker build --build-arg ASSEMBLY=manifests/prod.yaml .
# Another one of the image's manifests: docker run -e ASSEMBLY=manifests/dev.yaml …
ARG PYTHON=3.13

# Wheels of this project and of all it needs, in the versions that its tests ran with.
FROM python:${PYTHON}-slim AS wheels
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY assembler assembler
COPY components components
RUN pip wheel --no-cache-dir --wheel-dir /wheels --constraint constraints.txt '.[all]'

FROM python:${PYTHON}-slim
# The system's certificates: what clients of other services trust, and a place to add a CA of one's own.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin app
# What is in the wheels is pinned already.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'fastapi-assembler[all]'

WORKDIR /app
# The list of what a manifest may import stands in pyproject.toml.
COPY pyproject.toml ./
COPY manifests manifests
ARG ASSEMBLY=manifests/prod.yaml
ENV ASSEMBLY=${ASSEMBLY} \
    PORT=8000 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Whether it lives, since who finds it unhealthy starts it again; balancers ask /health/ready.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health/live', timeout=2)"]
# No shell: signals reach the server. It serves the manifest that ASSEMBLY names.
CMD ["assembler", "serve"]
