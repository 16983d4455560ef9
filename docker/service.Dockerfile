# syntax=docker/dockerfile:1
# The service: bundle + store + requests -> recommendations. No torch, no compiler, no root.
#   docker build --file docker/service.Dockerfile --tag newsbert-service .
#   docker run --read-only --tmpfs /tmp --volume newsbert:/data --publish 127.0.0.1:8000:8000 newsbert-service

# Pinned by tag; add the digest (`@sha256:…`) of the image you have checked to pin its bytes too.
ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_CACHE_DIR=/var/cache/pip
RUN python -m venv /opt/venv
COPY pyproject.toml README.md LICENSE constraints.txt newsbert.py ./
COPY contract ./contract
COPY service ./service
# Compiled here, as nothing can be written at run time.
RUN --mount=type=cache,target=/var/cache/pip \
    /opt/venv/bin/pip install --compile --constraint constraints.txt '.[service]'

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    NEWSBERT_HOST=0.0.0.0 \
    NEWSBERT_PORT=8000 \
    NEWSBERT_STORE=sqlite:////data/newsbert.sqlite \
    NEWSBERT_SNAPSHOTS=/data/snapshots
RUN install --directory --owner=10001 --group=10001 /data
VOLUME /data
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY docker/healthcheck.py ./healthcheck.py
COPY samples ./samples
COPY bundles ./bundles
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "healthcheck.py"]
CMD ["newsbert", "serve"]
