# docker build -t seedbed .
# docker run --gpus all -v "$PWD":/workspace seedbed            runs the pipeline on your data, parameters and cache
# docker run seedbed make demo                                  the embedded sample, inside the image
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory '*'

WORKDIR /opt/seedbed
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
ENV PATH=/opt/venv/bin:$PATH \
    DVC_NO_ANALYTICS=1 MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=1 \
    PYTHONUNBUFFERED=1

COPY . /workspace
WORKDIR /workspace
# The package is the one in /workspace, also where a folder of the host is mounted there. DVC needs a git repository, which the
# image does not copy. The image's environment serves as .venv, so that make finds it ready.
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && git init --quiet \
    && git add --all \
    && git -c user.name=seedbed -c user.email=seedbed@localhost commit --quiet --message "Image" \
    && ln -s /opt/venv .venv \
    && touch .venv/.ready
CMD ["dvc", "repro"]
