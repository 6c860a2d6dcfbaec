"""The service as a process of its own: how it starts, how it ends, and what its image holds."""

import contextlib
import io
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="FastAPI is not installed")
pytest.importorskip("uvicorn", reason="Uvicorn is not installed")

from made_networks import network_of_three_classes
from serving_http import PATIENCE, get, post, wait_for

import app
from errors import UserError
from nets.weights.description import Description
from nets.weights.storage import save_weights
from utils.config import load_config

ROOT = Path(app.__file__).parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "best_epoch_weights.weights.h5"
    description = Description(3, "vgg", (32, 48), ("a", "b", "c"), 8)
    save_weights(network_of_three_classes(0), path, description)
    return path


@pytest.fixture(scope="module")
def image():
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@contextlib.contextmanager
def started(command, folder=ROOT):
    """A running process; killed at the end if it has not ended."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def service(port, weights, *more):
    settings = ["--api", "--port", str(port), "--model_path", str(weights), *more]
    return [sys.executable, "app.py", *settings]


def is_ready(process, port):
    assert process.poll() is None, process.stderr.read()
    with contextlib.suppress(OSError):
        return get(port, "/health").status == 200


@pytest.mark.slow
def test_sigterm_ends_it_when_all_that_it_took_is_answered(weights, image):
    port = free_port()
    with started(service(port, weights)) as process, ThreadPoolExecutor(20) as pool:
        wait_for(lambda: is_ready(process, port))
        waiting = [pool.submit(post, port, image, "?format=overlay") for _ in range(20)]
        wait_for(lambda: get(port, "/health").json["taken"] > 5 or all(x.done() for x in waiting))
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in errors and errors.strip() == "stopped by SIGTERM."
    assert output.startswith(f"The service is at 127.0.0.1, port {port}: POST an image to /predict")
    # Those that came after the signal were refused a connection, which is no loss.
    answered = [one.result() for one in waiting if not one.exception()]
    assert len(answered) > 5
    assert {one.status for one in answered} == {200}
    assert not [one for one in waiting if isinstance(one.exception(), TimeoutError)]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["missing", "broken", "port"])
def test_what_keeps_it_from_starting_is_one_sentence(what, weights, tmp_path):
    path, port = weights, free_port()
    if what != "port":
        path = tmp_path / "other.weights.h5"
    if what == "broken":
        path.write_bytes(b"no weights")
    with contextlib.ExitStack() as stack:
        if what == "port":
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        process = stack.enter_context(started(service(port, path)))
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "Traceback" not in errors
    expected = {
        "missing": f"No weights file {path}",
        "broken": str(path),
        "port": f"Nothing can be served at 127.0.0.1, port {port}",
    }
    assert re.search(f"error: .*{re.escape(expected[what])}", errors), errors


def test_without_its_packages_it_names_the_file_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "webapp.service", raising=False)
    monkeypatch.delitem(sys.modules, "webapp.bodies", raising=False)
    with pytest.raises(UserError, match=r"needs fastapi, .* pip install -r requirements-service"):
        app.main(app.AppConfig(api=True))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"queue_size": 0}, "queue_size must be at least 1; got 0"),
        ({"max_wait": 0.0}, "max_wait must be above 0 seconds; got 0.0"),
        ({"max_body_mb": 0}, "max_body_mb must be at least 1"),
        ({"api_max_pixels": 0}, "api_max_pixels must be at least 1"),
    ],
)
def test_settings_are_checked(given, text):
    with pytest.raises(UserError, match=text):
        app.AppConfig(api=True, **given)


# The image


def instructions():
    """[(instruction, its text)] of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def copy_sources(folder):
    """Does what the COPY instructions do, to `folder`; only what .dockerignore lets through."""
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    for name, text in instructions():
        if name != "COPY":
            continue
        *sources, target = text.split()
        for source in sources:
            path = ROOT / source
            assert path.exists(), source
            assert any(Path(source).match(pattern) for pattern in allowed), source
            if path.is_dir():
                unwanted = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, folder / target, ignore=unwanted)
            else:
                shutil.copy(path, folder / target)


def test_the_command_line_of_the_image_has_known_settings():
    found = dict(instructions())
    python, script, *fixed = json.loads(found["ENTRYPOINT"])
    assert (python, script) == ("python", "app.py")
    config = load_config(app.AppConfig, [*fixed, *json.loads(found["CMD"])])
    assert config.api and config.host == "0.0.0.0"
    assert str(config.port) == found["EXPOSE"]
    assert f":{config.port}/health" in found["HEALTHCHECK"]
    assert config.model_path.startswith("/weights/")
    assert found["USER"] == "unet"
    included = [shlex.split(text) for name, text in instructions() if name == "RUN"]
    assert any("requirements-service.txt" in words for words in included)


@pytest.mark.slow
def test_what_is_copied_into_the_image_serves(weights, image, tmp_path):
    copy_sources(tmp_path)
    port = free_port()
    with started(service(port, weights), tmp_path) as process:
        wait_for(lambda: is_ready(process, port))
        assert post(port, image).status == 200
        health = dict(instructions())["HEALTHCHECK"].partition("CMD ")[2]
        command = json.loads(health.replace("8000", str(port)))
        assert subprocess.run([sys.executable, *command[1:]], check=False).returncode == 0
    command = json.loads(health.replace("8000", str(free_port())))
    done = subprocess.run([sys.executable, *command[1:]], capture_output=True, check=False)
    assert done.returncode == 1
