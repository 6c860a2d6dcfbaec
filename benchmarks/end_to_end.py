"""How much predict.py and get_miou.py take beside what they can't do without.

    python benchmarks/end_to_end.py --VOCdevkit_path DIR [--model_path WEIGHTS]

Three figures: one image from the start of the process to the saved file, beside the import of
Keras and the network's own time; a folder of images of mixed sizes, and the validation images,
beside the bare network's rate, which is that of `predict_on_batch` of full batches. Folder and
evaluation are timed from loaded modules to the last file, loading of the weights included.
"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

from utils.config import load_config, run_script, settings
from utils.data.voc import read_samples
from utils.labels import class_names

# (width, height) of the folder's images: 0.8 megapixels on average
SIZES = (
    (480, 360), (640, 480), (375, 500), (1024, 768), (1280, 720), (500, 375), (720, 1280),
    (1600, 1200), (800, 600), (1920, 1080),
)  # fmt: skip
_POLL = 0.002  # seconds


@settings
class BenchmarkConfig:
    # What to run
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007, with a list val
    model_path: str = ""  # trained weights; empty: the article's network, untrained, 512x512
    num_classes: int = 21  # of that network
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16
    engine: str = "keras"  # auto, keras, onnxruntime, openvino

    # How
    batch_size: int = 4  # images the network takes at a time
    starts: int = 3  # times that the script is started; the median counts
    images: int = 200  # in the folder; 0: none
    evaluate: bool = True  # whether to time get_miou.py too


def main(config=None):
    """Times; `config` is a BenchmarkConfig, or None to read the command line."""
    config = config or load_config(BenchmarkConfig)
    samples = read_samples(config.VOCdevkit_path, "val")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        weights = config.model_path or make_weights(config, folder / "random.weights.h5")
        seconds = time_starts(config, weights, samples[0].image_path, folder)
        bare, given = Bare(config, weights), (config, weights, folder)
        report_start(*seconds, bare.image())
        if config.images:
            draw_folder(samples, config.images, folder / "images")
            compare_rates("folder", config.images, bare, time_folder, *given)
        if config.evaluate:
            compare_rates("get_miou.py", len(samples), bare, time_evaluation, *given)


def make_weights(config, path):
    """Writes the article's network, untrained."""
    from nets.unet import build
    from nets.weights.description import Description
    from nets.weights.storage import save_weights

    described = Description(config.num_classes, "vgg", (512, 512), class_names(config.num_classes))
    save_weights(build(described), path, described)
    return path


class Bare:
    """The loaded network with nothing around it."""

    def __init__(self, config, weights):
        from unet import Unet

        self.unet = Unet(weights, precision=config.precision, engine=config.engine)
        print(self.unet.precision_reason)
        shape = (*self.unet.description.network_shape, self.unet.description.in_channels)
        # Not zeros: processors may multiply those at a higher clock.
        noise = np.random.default_rng(0).uniform(-1, 1, (config.batch_size, *shape))
        self._batch = noise.astype(np.float32)

    def image(self):
        """Seconds of one image, as a batch of its own."""
        return self._time(self._batch[:1])

    def rate(self):
        """Images per second."""
        return len(self._batch) / self._time(self._batch)

    def _time(self, batch, rounds=5):
        seconds = []
        for _ in range(rounds + 1):  # the first compiles
            start = time.perf_counter()
            self.unet.model.predict_on_batch(batch)
            seconds.append(time.perf_counter() - start)
        return float(np.median(seconds[1:]))


def time_starts(config, weights, image, folder):
    """Median seconds of (importing what predicts, one image from the start to the saved file)."""
    times = []
    for turn in range(config.starts + 1):  # the first brings files into memory
        importing = time_import()
        result = folder / f"start_{turn}" / f"{image.stem}.png"
        options = {
            "model_path": weights,
            "image": image.resolve(),
            "dir_save_path": result.parent,
            "precision": config.precision,
            "engine": config.engine,
        }
        line = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        begun = time.perf_counter()
        process = subprocess.Popen([sys.executable, str(ROOT / "predict.py"), *line], **_SILENT)
        while not result.exists() and process.poll() is None:
            time.sleep(_POLL)
        times.append((importing, time.perf_counter() - begun))
        if process.wait():
            raise RuntimeError(f"predict.py ended with status {process.returncode}.")
    return np.median(times[1:], axis=0).tolist()


def time_import():
    """Seconds from the start of a process until it has imported what predicts."""
    code = "import unet, nets.trained; print('imported', flush=True)"  # the latter loads Keras
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        process.stdout.readline()
        return time.perf_counter() - start


_SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def report_start(importing, whole, network):
    """Prints what one image takes from the start of the process."""
    print(
        f"one image: import {importing:.2f} s, network {network:.2f} s, start to saved file "
        f"{whole:.2f} s: {whole / (importing + network):.2f} times import and network",
        flush=True,
    )


def draw_folder(samples, count, folder):
    """Writes images of mixed sizes, made of those of the samples."""
    folder.mkdir()
    for index, size in zip(range(count), cycle(SIZES), strict=False):
        with Image.open(samples[index % len(samples)].image_path) as image:
            resized = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        resized.save(folder / f"{index:04}.jpg", quality=92)


def time_folder(config, weights, folder):
    """Seconds of predict.py's work on a folder, from its images to its results."""
    import predict

    given = predict.PredictConfig(
        model_path=str(weights),
        mode="dir_predict",
        dir_origin_path=str(folder / "images"),
        dir_save_path=str(folder / "results"),
        batch_size=config.batch_size,
        precision=config.precision,
        engine=config.engine,
    )
    return _time_silently(predict.main, given)


def time_evaluation(config, weights, folder):
    """Seconds of get_miou.py's work, from images to scores, charts and the page."""
    import get_miou

    given = get_miou.MiouConfig(
        model_path=str(weights),
        VOCdevkit_path=config.VOCdevkit_path,
        batch_size=config.batch_size,
        precision=config.precision,
        engine=config.engine,
        miou_out_path=str(folder / "miou_out"),
    )
    return _time_silently(get_miou.main, given)


def _time_silently(function, given):
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        function(given)
    return time.perf_counter() - start


def compare_rates(what, count, bare, work, *args):
    """Times work on images and prints its rate beside the bare network's, before and after."""
    before = bare.rate()
    seconds = work(*args)
    own = (before + bare.rate()) / 2  # a machine's speed changes within minutes
    rate = count / seconds
    print(
        f"{what}: {count} images in {seconds:.1f} s, {rate:.2f} a second; bare network {own:.2f} a "
        f"second: {rate / own:.0%} of it",
        flush=True,
    )


if __name__ == "__main__":
    run_script(main)
