# syntax=docker/dockerfile:1
# Training and export: MIND folder + teacher -> student -> bundle. Bundles are measured with the service image.
#   docker build --file docker/training.Dockerfile --tag newsbert-training .
#   docker run --volume "$PWD/runs:/app/runs" newsbert-training train --config training/configs/sample.toml \
#     --train samples/mind/train --dev samples/mind/dev --out runs/sample

# Pinned by tag; add the digest (`@sha256:…`) of the image you have checked to pin its bytes too.
ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# torch brings several GB of GPU libraries on Linux. Without a GPU, save them: give the address of PyTorch's
# CPU wheels with `--build-arg TORCH_INDEX=…`; constraints.txt names no build suffix, so either build fits.
ARG TORCH_INDEX=
WORKDIR /build
ENV PIP_CACHE_DIR=/var/cache/pip
RUN python -m venv /opt/venv
COPY constraints.txt ./
# Alone and first: the largest layer, and the one that changes least.
RUN --mount=type=cache,target=/var/cache/pip \
    /opt/venv/bin/pip install --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY pyproject.toml README.md LICENSE newsbert.py ./
COPY contract ./contract
COPY training ./training
COPY export ./export
RUN --mount=type=cache,target=/var/cache/pip \
    /opt/venv/bin/pip install --compile --constraint constraints.txt '.[training,export]'

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/app/runs/.cache/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /app
RUN install --directory --owner=10001 --group=10001 /app/runs /app/bundles
VOLUME ["/app/runs", "/app/bundles"]
COPY --from=build /opt/venv /opt/venv
COPY training/configs ./training/configs
COPY samples ./samples
USER 10001:10001
STOPSIGNAL SIGTERM
# A run ends by itself; there is nothing to ask meanwhile.
HEALTHCHECK NONE
ENTRYPOINT ["newsbert"]
CMD ["--help"]
