"""How many images per second the data path makes, in one process and one thread.

    python benchmarks/loader.py --VOCdevkit_path DIR [--upstream CHECKOUT]

With a checkout of unet-keras or unet-tf2, its loader runs in turn with this project's, in
the same run, on the same images. Figures are medians over rounds.
"""

import importlib.util
import statistics
import sys
import time
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

from utils.config import load_config, run_script, settings
from utils.data.augment import Augment
from utils.data.borders import BorderWeights
from utils.data.dataset import UnetDataset
from utils.data.voc import read_samples

EVERYTHING = Augment(
    flip_vertical=0.5, quarter_turn=0.5, rotation=30, elastic=0.02, rare_crops=0.5, gamma=0.3,
    contrast=0.3, blur=1.0, noise=5.0, low_resolution=0.5, cutout=0.3,
)  # fmt: skip


@settings
class LoaderConfig:
    # What to load
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    num_classes: int = 21  # classes + 1 for the background
    ignore_labels: tuple[int, ...] = (255,)  # mask values that are void
    upstream: str = ""  # checkout of unet-keras or unet-tf2 to run in turn

    # How
    sizes: tuple[int, ...] = (256, 512)  # height and width of the batches
    images: int = 120  # in each round
    rounds: int = 5  # of each loader and size


def main(config=None):
    """Times; `config` is a LoaderConfig, or None to read the command line."""
    config = config or load_config(LoaderConfig)
    cv2.setNumThreads(1)
    samples = read_samples(config.VOCdevkit_path, "train")[: config.images]
    for size in config.sizes:
        loaders = {
            "this project": lambda size=size: load_here(config, samples, size, Augment()),
            "with everything on": lambda size=size: load_here(config, samples, size, EVERYTHING),
            "with border weights": lambda size=size: load_here(
                config, samples, size, Augment(), BorderWeights()
            ),
        }
        if config.upstream:
            dataset = import_upstream(config.upstream)
            loaders["upstream"] = lambda size=size, d=dataset: load_upstream(
                d, config, samples, size
            )
        seconds = {name: [] for name in loaders}
        for _ in range(config.rounds):
            for name, load in loaders.items():
                seconds[name].append(load() / len(samples))
        rates = {name: 1 / statistics.median(times) for name, times in seconds.items()}
        line = ", ".join(f"{name} {rate:.1f} images/s" for name, rate in rates.items())
        if config.upstream:
            line += f", ratio {rates['this project'] / rates['upstream']:.1f}"
        print(f"{size}x{size}, {config.num_classes} classes: {line}", flush=True)


def load_here(config, samples, size, augment, weigh=None):
    """Seconds to make all batches of two with this project's loader."""
    dataset = UnetDataset(
        samples,
        (size, size),
        2,
        config.num_classes,
        augment,
        ignore_labels=config.ignore_labels,
        num_workers=1,
        weigh=weigh,
    )
    # Its own thread and lookahead are left out: one thread makes every sample.
    start = time.perf_counter()
    for first in range(0, len(samples), 2):
        positions = range(first, min(first + 2, len(samples)))
        loaded = [dataset.load_sample(0, position) for position in positions]
        for arrays in zip(*loaded, strict=True):
            np.stack(arrays)
    return time.perf_counter() - start


def load_upstream(module, config, samples, size):
    """Seconds to make all batches of two with upstream's loader."""
    lines = [sample.name for sample in samples]
    dataset = module.UnetDataset(
        lines, [size, size], 2, config.num_classes, True, config.VOCdevkit_path
    )
    start = time.perf_counter()
    for index in range(len(dataset)):
        dataset[index]
    return time.perf_counter() - start


def import_upstream(checkout):
    """Imports a checkout's `utils/dataloader.py` without its other packages.

    Only the base class of its loader comes from Keras, and only for the training loop; a
    bare class stands in for it. Pillow's old names, which it uses, are put back.
    """
    from PIL import Image

    for name in ("BICUBIC", "NEAREST"):
        if not hasattr(Image, name):
            setattr(Image, name, getattr(Image.Resampling, name))
    if not hasattr(Image, "FLIP_LEFT_RIGHT"):
        Image.FLIP_LEFT_RIGHT = Image.Transpose.FLIP_LEFT_RIGHT
    keras = types.ModuleType("keras")
    keras.utils = types.SimpleNamespace(Sequence=object)
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.keras = keras
    helpers = types.ModuleType("utils.utils")
    helpers.cvtColor = lambda image: image.convert("RGB")
    helpers.preprocess_input = lambda image: image / 127.5 - 1
    stand_ins = {
        "keras": keras,
        "tensorflow": tensorflow,
        "utils": types.ModuleType("utils"),
        "utils.utils": helpers,
    }
    own = {name: sys.modules[name] for name in stand_ins if name in sys.modules}
    sys.modules.update(stand_ins)
    path = Path(checkout) / "utils" / "dataloader.py"
    spec = importlib.util.spec_from_file_location("upstream_dataloader", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in stand_ins:
        del sys.modules[name]
    sys.modules.update(own)
    return module


if __name__ == "__main__":
    run_script(main)
