"""The service under load, on the loopback address, beside the bare network's rate.

    python benchmarks/service_load.py
    python benchmarks/service_load.py --width 16 --queue_size 16

Clients send one image after the other, each on a connection of its own, and come again where they
are refused. Every answer is compared with what the network gives for that image alone. The bare
network, full batches without anything around it, is timed before the service starts and when it
has ended. It ends by itself: with the last answer, or after `max_seconds`.
"""

import contextlib
import http.client
import io
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from end_to_end import Bare
from PIL import Image

from errors import RunError
from utils.config import load_config, run_script, settings
from utils.images.sample import draw_cells
from utils.labels import class_names

_DISTINCT = 10  # images; their sizes tell them apart
_PATIENCE = 300  # seconds that the service may take to start, and a request to be answered


@settings
class LoadConfig:
    # What runs
    model_path: str = ""  # trained weights; empty: the article's network, untrained
    width: int = 64  # filters of that network's first block
    num_classes: int = 21  # of that network
    input_shape: tuple[int, int] = (256, 256)  # of that network
    precision: str = "auto"  # of the bare network; the service always takes auto
    engine: str = "keras"  # of the bare network
    batch_size: int = 4  # images the network takes at a time
    queue_size: int = 64  # requests at a time; more are refused

    # Who asks
    clients: int = 50  # at a time
    images: int = 10  # that each of them sends
    size: tuple[int, int] = (480, 640)  # height, width of the first image
    format: str = "mask"  # mask, overlay, json
    max_seconds: float = 900.0  # after which the clients give up


class Answer(NamedTuple):
    """What became of a request.

    Attributes:
        image: int, which one was sent.
        seconds: float, from the first try to the answer.
        refusals: int, how often it was told to come again.
        body: bytes of the answer; None: it is lost.
    """

    image: int
    seconds: float
    refusals: int
    body: bytes | None


def main(config=None):
    """Loads the service; `config` is a LoadConfig, or None to read the command line."""
    config = config or load_config(LoadConfig)
    with tempfile.TemporaryDirectory() as folder:
        weights = config.model_path or write_weights(config, Path(folder) / "random.weights.h5")
        images = draw_images(config.size)
        bodies = [to_jpeg(image) for image in images]
        bare = Bare(config, weights)
        masks = [bare.unet.predict(Image.open(io.BytesIO(body))).mask for body in bodies]
        before = bare.rate()
        with running_service(config, weights) as port:
            ask_all(config, port, bodies, 1)  # has everything in memory
            start = time.perf_counter()
            answers = ask_all(config, port, bodies, config.images)
            seconds = time.perf_counter() - start
        report(config, answers, seconds, masks, (before, bare.rate()))


def write_weights(config, path):
    """Writes an untrained network."""
    from nets.unet import build
    from nets.weights.description import Description
    from nets.weights.storage import save_weights

    names = class_names(config.num_classes)
    described = Description(config.num_classes, "vgg", config.input_shape, names, config.width)
    save_weights(build(described, encoder_initializer="he_normal"), path, described)
    return path


def draw_images(size):
    """Images of cells, each a row lower than the one before."""
    rng = np.random.default_rng(0)
    return [draw_cells((size[0] - index, size[1]), rng)[0] for index in range(_DISTINCT)]


def to_jpeg(image):
    """An image as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@contextlib.contextmanager
def running_service(config, weights):
    """Runs the service as a process of its own until the end; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    options = {
        "port": port,
        "model_path": weights,
        "batch_size": config.batch_size,
        "queue_size": config.queue_size,
        "max_wait": config.max_seconds,
    }
    line = [f"--{name}={value}" for name, value in options.items()]
    process = subprocess.Popen([sys.executable, str(ROOT / "app.py"), "--api", *line])
    try:
        wait_until_ready(process, port)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def wait_until_ready(process, port):
    """Waits until the service has loaded its weights."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), contextlib.closing(connect(port)) as connection:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise RunError("The service did not start.")


def connect(port):
    """A connection to the service."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)


def ask_all(config, port, bodies, count):
    """The Answers to all clients, which send `count` images each."""
    end = time.monotonic() + config.max_seconds
    together = threading.Barrier(config.clients)

    def ask(number):
        with contextlib.closing(connect(port)) as connection:
            together.wait()
            order = [(number + index) % len(bodies) for index in range(count)]
            return [send(config, connection, one, bodies[one], end) for one in order]

    with ThreadPoolExecutor(config.clients) as pool:
        return [answer for found in pool.map(ask, range(config.clients)) for answer in found]


def send(config, connection, image, body, end):
    """The Answer to one image, sent again for as long as the service says so."""
    start, refusals = time.monotonic(), 0
    path, headers = f"/predict?format={config.format}", {"Content-Type": "image/jpeg"}
    while time.monotonic() < end:
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()  # the next request opens it again
            break
        if answer.status == 200:
            return Answer(image, time.monotonic() - start, refusals, content)
        if answer.status != 429:
            break
        refusals += 1
        time.sleep(float(answer.headers["Retry-After"]))
    return Answer(image, time.monotonic() - start, refusals, None)


def report(config, answers, seconds, masks, bare):
    """Prints the figures; RunError if an answer is lost or another's."""
    got = [one for one in answers if one.body is not None]
    rate, alone = len(got) / seconds, sum(bare) / 2
    print(
        f"bare network, batches of {config.batch_size}: {bare[0]:.2f} images/s before, "
        f"{bare[1]:.2f} after\n"
        f"service: {len(got)} images from {config.clients} clients in {seconds:.1f} s: "
        f"{rate:.2f} images/s, {rate / alone:.0%} of the bare network's"
    )
    times = np.percentile([one.seconds for one in got], (50, 95)) if got else (np.nan, np.nan)
    lost, refused = len(answers) - len(got), sum(one.refusals for one in answers)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # of KiB
    print(
        f"from the first try to the answer: median {times[0]:.2f} s, p95 {times[1]:.2f} s; refused "
        f"{refused} times; lost {lost}; memory of the service at most {peak:.2f} GiB"
    )
    if config.format == "mask":
        compare(got, masks)
    if lost:
        raise RunError(f"{lost} of {len(answers)} requests have no answer.")


def compare(answers, masks):
    """Compares the masks with those of the network alone; RunError for another image's."""
    equal = pixels = 0
    for one in answers:
        found, expected = np.asarray(Image.open(io.BytesIO(one.body))), masks[one.image]
        if found.shape != expected.shape:
            raise RunError(f"The answer to image {one.image} is that to another one.")
        equal += np.count_nonzero(found == expected)
        pixels += found.size
    classes = len(np.unique(np.concatenate([mask.ravel() for mask in masks])))
    print(
        f"pixels of the class that the image has alone: {equal / pixels:.4%} of {pixels:,}; "
        f"{classes} classes occur"
    )


if __name__ == "__main__":
    run_script(main)
