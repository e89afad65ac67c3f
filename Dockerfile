# CPU image: docker build -t aitraining-studio .
# NVIDIA:    docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t aitraining-studio .
# Run:       docker run --init -p 127.0.0.1:7860:7860 -v aitraining-runs:/data aitraining-studio
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 1000 user && install -d -o user -g user /data
USER user
ENV HOME=/home/user \
    PATH=/home/user/.local/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GRADIO_ANALYTICS_ENABLED=False \
    HF_HUB_DISABLE_TELEMETRY=1 \
    HF_HOME=/data/huggingface \
    AITRAINING_HOME=/data/runs \
    AITRAINING_HOST=0.0.0.0 \
    PORT=7860
WORKDIR /home/user/studio

COPY --chown=user constraints.txt pyproject.toml README.md ./
RUN pip install --no-cache-dir --user --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"
COPY --chown=user . .
RUN pip install --no-cache-dir --user --constraint constraints.txt --editable .

VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/', timeout=4)"]
CMD ["python", "app.py"]
