# The service of docs/service.md, on the CPU:
#   docker build -t unet-service .
#   docker run -p 8000:8000 -v "$PWD/logs:/weights:ro" unet-service
FROM python:3.12-slim-bookworm

# OpenCV needs them.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements.txt requirements-common.txt requirements-service.txt ./
RUN pip install --no-cache-dir -r requirements-service.txt

COPY app.py errors.py unet.py ./
COPY nets nets
COPY utils utils
COPY webapp webapp

RUN useradd --create-home unet
USER unet
ENV PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=2m \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]

# Settings that follow the image's name in `docker run` take the place of the last line.
ENTRYPOINT ["python", "app.py", "--api", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--model_path", "/weights/best_epoch_weights.weights.h5"]
