# docker build -t aitraining-studio .                             for the processor
# docker build -t aitraining-studio:cuda --build-arg TORCH=cuda . for an NVIDIA GPU
# docker run -p 127.0.0.1:7860:7860 -v aitraining:/srv/studio --stop-timeout 30 aitraining-studio    (--gpus all for the second)
# A Hugging Face Space builds the first; its variable TORCH=cuda, which is a build argument there, makes it the second.
# What is copied here is what `aitraining deploy` sends.
FROM python:3.11-slim-bookworm

# tini hands signals on and collects processes that have ended. Debian keeps one version of a package at a time.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 user \
    && install -d -o user -g user /srv/studio /home/user/studio

USER 1000
ENV HOME=/home/user \
    PATH=/home/user/.local/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    GRADIO_ANALYTICS_ENABLED=False \
    HF_HUB_DISABLE_TELEMETRY=1 \
    AITRAINING_CONTAINER=1 \
    AITRAINING_HOME=/srv/studio/runs \
    HF_HOME=/srv/studio/huggingface \
    AITRAINING_HOST=0.0.0.0 \
    PORT=7860
WORKDIR /home/user/studio

# From what changes least to what changes most: torch, the other libraries, the studio.
ARG TORCH=cpu
ENV AITRAINING_TORCH=$TORCH
COPY --chown=1000 constraints.txt ./
COPY --chown=1000 scripts/install_torch.sh scripts/
RUN PIP_USER=1 sh scripts/install_torch.sh python "$TORCH"
COPY --chown=1000 pyproject.toml README.md ./
COPY --chown=1000 scripts/list_dependencies.py scripts/
RUN python scripts/list_dependencies.py "$TORCH" > /tmp/dependencies.txt \
    && pip install --no-cache-dir --user --constraint constraints.txt --requirement /tmp/dependencies.txt \
    && rm /tmp/dependencies.txt
COPY --chown=1000 engine engine
COPY --chown=1000 ui ui
COPY --chown=1000 assets assets
COPY --chown=1000 app.py ./
RUN pip install --no-cache-dir --user --no-deps --editable .

VOLUME /srv/studio
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/studio/static/logo.svg', timeout=4)"]
ENTRYPOINT ["tini", "--"]
CMD ["python", "app.py"]
