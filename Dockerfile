# syntax=docker/dockerfile:1
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG TORCH=2.13.0
# The CPU build, for amd64 and arm64; a GPU needs another index and a base image with CUDA.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "torch==$TORCH"
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)[train,serve,heic,siglip,postgres,faiss]" \
    && useradd --create-home --uid 10001 wordsight \
    && mkdir /data \
    && chown wordsight /data
USER 10001
ENV WORDSIGHT_CACHE=/data/cache HF_HOME=/data/hub
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
ENTRYPOINT ["wordsight"]
CMD ["serve", "/data/index", "--host", "0.0.0.0", "--root", "/pictures"]
