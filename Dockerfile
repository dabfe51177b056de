# syntax=docker/dockerfile:1
# docker build --tag ltrp-bench .    (docs/docker.md)
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS base
ARG EXTRAS=cluster
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/cache/huggingface \
    MPLCONFIGDIR=/cache/matplotlib
# OpenCV needs libGL and glib.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 bench \
    && mkdir -p /cache /work \
    && chmod 1777 /cache /work

FROM base AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY ltrp_bench ltrp_bench
COPY harness harness
COPY selectors selectors
COPY tasks tasks
COPY results results
# hadolint ignore=DL3013
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM base
# By default torch comes with the CUDA libraries; it also runs without a GPU. With the address of PyTorch's index of CPU
# wheels here, pip prefers these wheels of the same versions: their local label (2.x+cpu) sorts last and fits the constraint.
ARG TORCH_INDEX_URL=""
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /wheels /wheels
# hadolint ignore=DL3013
RUN wheel=$(ls /wheels/*.whl) \
    && pip install --constraint /tmp/constraints.txt ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} \
        "${wheel}[${EXTRAS}]" \
    && rm -rf /wheels /tmp/constraints.txt
USER 1000
WORKDIR /work
ENTRYPOINT ["ltrp-bench"]
CMD ["--help"]
