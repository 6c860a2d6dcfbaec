"""How long predicting and evaluating take, beside the network's own time and beside upstream.

    python benchmarks/predict.py --VOCdevkit_path DIR [--upstream CHECKOUT] [--model_path WEIGHTS]

With a checkout of unet-tf2 (its Keras 2 comes with `pip install tf_keras`), its `Unet` runs
in a process of its own, in turn with this project's, on the same images, in the same run.
Figures are medians over rounds. With trained weights, the class maps of mixed_bfloat16 and
float32 are compared as well.
"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from in_turn import Upstream, time_in_turn
from PIL import Image

from utils.config import load_config, run_script, settings
from utils.data.voc import read_samples


@settings
class BenchmarkConfig:
    # What to run
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007, with a list val
    model_path: str = ""  # trained weights for the comparison of precisions; empty: left out
    upstream: str = ""  # checkout of unet-tf2 to run in turn
    upstream_python: str = sys.executable  # interpreter that has tf_keras

    # How
    num_classes: int = 21  # of the network with random weights
    input_shape: tuple[int, int] = (512, 512)  # height, width
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16
    sizes: tuple[int, ...] = (512, 1330)  # sides of the square images for detect_image
    images: int = 12  # of the list val, for the evaluation
    rounds: int = 5  # of each timing


def main(config=None):
    """Times; `config` is a BenchmarkConfig, or None to read the command line."""
    config = config or load_config(BenchmarkConfig)
    samples = read_samples(config.VOCdevkit_path, "val")[: config.images]
    with tempfile.TemporaryDirectory() as folder:
        weights = make_weights(config, Path(folder) / "random.weights.h5")
        time_start(weights, samples[0].image_path, folder)
        with contextlib.ExitStack() as stack:
            upstream = None
            if config.upstream:
                upstream = stack.enter_context(start_upstream(config, folder))
            time_images(config, weights, samples, upstream)
            time_evaluation(config, weights, samples, folder, upstream)
    if config.model_path:
        compare_precisions(config, samples)


def make_weights(config, path):
    """Writes the article's network with random weights."""
    from nets.unet import Unet
    from nets.weights.description import Description
    from nets.weights.storage import save_weights
    from utils.labels import class_names

    model = Unet((*config.input_shape, 3), config.num_classes)
    names = class_names(config.num_classes)
    save_weights(model, path, Description(config.num_classes, "vgg", config.input_shape, names))
    return path


def time_start(weights, image, folder):
    """Times the script from its start: help, and the first image saved."""
    script = [sys.executable, str(ROOT / "predict.py")]
    start = time.perf_counter()
    subprocess.run([*script, "--help"], check=True, capture_output=True)
    print(f"python predict.py --help: {time.perf_counter() - start:.2f} s")
    start = time.perf_counter()
    options = ["--model_path", str(weights), "--image", str(image), "--dir_save_path", folder]
    subprocess.run([*script, *options], check=True, capture_output=True)
    print(f"python predict.py to its end, one image: {time.perf_counter() - start:.1f} s")


def time_images(config, weights, samples, upstream):
    """Times the network alone and `detect_image` on one image at several sizes."""
    from unet import Unet

    unet = Unet(weights, precision=config.precision)
    print(unet.precision_reason)
    batch = np.zeros((1, *config.input_shape, 3), np.float32)
    for side in config.sizes:
        image = Image.open(samples[0].image_path).convert("RGB").resize((side, side))
        path = Path(tempfile.gettempdir()) / f"benchmark_{os.getpid()}.png"
        image.save(path)
        calls = {
            "network": lambda: unet.model.predict_on_batch(batch),
            "detect_image": lambda image=image: unet.detect_image(image),
        }
        if upstream:
            calls["upstream"] = lambda path=path: upstream.call(["detect", str(path)])
        seconds = time_in_turn(calls, config.rounds)
        path.unlink()
        line = f"{side}x{side}: " + format_times(seconds)
        line += f"; detect_image / network {seconds['detect_image'] / seconds['network']:.2f}"
        if upstream:
            line += f", upstream / this {seconds['upstream'] / seconds['detect_image']:.1f}"
        print(line, flush=True)


def time_evaluation(config, weights, samples, folder, upstream):
    """Times get_miou.py's work, from images to scores and charts, an image."""
    import get_miou

    voc = Path(folder) / "list.txt"
    voc.write_text("".join(f"{sample.name}\n" for sample in samples), "utf-8")
    settings_here = get_miou.MiouConfig(
        model_path=str(weights),
        VOCdevkit_path=config.VOCdevkit_path,
        val_list=str(voc),
        precision=config.precision,
        miou_out_path=str(Path(folder) / "miou_out"),
    )

    def evaluate():
        with contextlib.redirect_stdout(io.StringIO()):
            get_miou.main(settings_here)

    calls = {"get_miou": evaluate}
    if upstream:
        names = [[str(sample.image_path), str(sample.mask_path)] for sample in samples]
        calls["upstream"] = lambda: upstream.call(["evaluate", names])
    seconds = time_in_turn(calls, max(config.rounds // 2, 1))
    seconds = {name: value / len(samples) for name, value in seconds.items()}
    line = f"evaluation of {len(samples)} images, an image: " + format_times(seconds)
    if upstream:
        line += f"; upstream / this {seconds['upstream'] / seconds['get_miou']:.1f}"
    print(line, flush=True)


def compare_precisions(config, samples):
    """Compares the class maps of trained weights in mixed_bfloat16 and float32."""
    from unet import Unet
    from utils.images.reading import read_image

    unets = [Unet(config.model_path, precision=name) for name in ("float32", "mixed_bfloat16")]
    equal = pixels = 0
    for sample in samples:
        image = read_image(sample.image_path)
        exact, coarse = (unet.predict_array(image) for unet in unets)
        equal += np.count_nonzero(exact == coarse)
        pixels += exact.size
    print(f"pixels of equal class, mixed_bfloat16 and float32: {equal / pixels:.3%} of {pixels:,}")


def format_times(seconds):
    """The times in one line, in milliseconds."""
    return ", ".join(f"{name} {1e3 * value:.0f} ms" for name, value in seconds.items())


def start_upstream(config, folder):
    """A process that runs upstream's `Unet`, with random weights of its own."""
    options = {
        "num_classes": config.num_classes,
        "input_shape": config.input_shape,
        "folder": folder,
    }
    return Upstream(config.upstream_python, config.upstream, _UPSTREAM, options)


# Runs in the checkout. It only calls upstream's own classes, as its get_miou.py does.
_UPSTREAM = """
import json, os, sys
sys.path.insert(0, ".")
import numpy as np
from PIL import Image
for name in ("BICUBIC", "NEAREST"):  # names of its time
    if not hasattr(Image, name):
        setattr(Image, name, getattr(Image.Resampling, name))
np.int = int
from nets.unet import Unet as build
from unet import Unet
from utils.utils_metrics import compute_mIoU

options = json.loads(sys.argv[1])
shape, classes = list(options["input_shape"]), options["num_classes"]
weights = os.path.join(options["folder"], "upstream.h5")
build([*shape, 3], classes, "vgg").save_weights(weights)
unet = Unet(model_path=weights, num_classes=classes, input_shape=shape, backbone="vgg")
folder = os.path.join(options["folder"], "upstream_results")
os.makedirs(folder, exist_ok=True)
for line in sys.stdin:
    what, argument = json.loads(line)
    if what == "detect":
        unet.detect_image(Image.open(argument))
    else:
        for image, _ in argument:
            stem = os.path.splitext(os.path.basename(image))[0]
            unet.get_miou_png(Image.open(image)).save(os.path.join(folder, stem + ".png"))
        stems = [os.path.splitext(os.path.basename(mask))[0] for _, mask in argument]
        truth = os.path.dirname(argument[0][1])
        compute_mIoU(truth, folder, stems, classes, [str(i) for i in range(classes)])
    print("done", flush=True)
"""


if __name__ == "__main__":
    run_script(main)
