"""How well peers learn in the same minutes: segmentation_models.pytorch and nnU-Net.

    python benchmarks/peers.py --VOCdevkit_path isbi2012 --num_classes 2 --peers smp,nnunet \\
        --python peers/bin/python

Each trains in a process of its own, with an interpreter that has the package from the registry
(`pip install torch segmentation-models-pytorch albumentations nnunetv2`), on the images of
train.txt until the time is over, and predicts those of val.txt. The masks are scored by this
project, at full size, as `learning.py` scores a plan:

    smp       Unet with vgg16, Keras' ImageNet weights, Dice and cross-entropy, its example's
              recipe; the best weights by the validation mIoU of each epoch
    nnunet    2d, its default plan and augmentation; its schedule ends with the time
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from utils.config import load_config, run_script, settings
from utils.data.masks import read_mask
from utils.data.voc import read_samples
from utils.evaluation.metrics import Counts, count_pixels, score
from utils.images.reading import read_image


@settings
class PeersConfig:
    # What to train
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    num_classes: int = 21  # classes + 1 for the background
    ignore_labels: tuple[int, ...] = (255,)  # mask values that are void

    # How
    peers: tuple[str, ...] = ("smp", "nnunet")  # in turn
    python: str = sys.executable  # interpreter that has their packages
    imagenet: str = ""  # Keras' file of VGG16 for smp; "": from scratch
    seeds: tuple[int, ...] = (11,)  # one training of each for each
    time_limit: float = 12.0  # minutes of a training


def main(config=None):
    """Trains and scores; `config` is a PeersConfig, or None to read the command line."""
    config = config or load_config(PeersConfig)
    for peer in config.peers:
        for seed in config.seeds:
            with tempfile.TemporaryDirectory() as folder:
                run(config, peer, seed, Path(folder))


def run(config, peer, seed, folder):
    """Trains a peer once and prints the scores of its masks."""
    counts = {split: write_split(config, split, folder) for split in ("train", "val")}
    options = [str(config.num_classes), str(config.time_limit), str(seed), config.imagenet]
    child = Path(__file__).with_name("peers_code") / f"train_{peer}.py"
    begin = time.perf_counter()
    subprocess.run(
        [config.python, str(child), str(folder), *options],
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    minutes = (time.perf_counter() - begin) / 60
    scores = score_masks(config, folder)
    print(
        f"{peer}, seed {seed}, {counts['train']} images, {minutes:.1f} min of "
        f"{config.time_limit:g}, predictions included: mIoU {scores.miou:.4f}, wrong pixels "
        f"{1 - scores.accuracy:.4f}",
        flush=True,
    )


def write_split(config, split, folder):
    """Writes a split's images and masks as PNG, void as 255; returns how many."""
    samples = read_samples(config.VOCdevkit_path, split)
    for kind in ("images", "masks"):
        (folder / split / kind).mkdir(parents=True)
    for number, sample in enumerate(samples):
        name = f"{number:05d}.png"
        Image.fromarray(read_image(sample.image_path)).save(folder / split / "images" / name)
        mask = read_mask(sample.mask_path, config.num_classes, config.ignore_labels)
        Image.fromarray(np.uint8(mask)).save(folder / split / "masks" / name)
    return len(samples)


def score_masks(config, folder):
    """The scores of `folder`/predictions against the masks of the validation images."""
    counts = Counts.zeros(config.num_classes)
    for path in sorted((folder / "val" / "masks").iterdir()):
        true, predicted = (
            np.array(Image.open(found)) for found in (path, folder / "predictions" / path.name)
        )
        pixels = count_pixels(true, predicted, config.num_classes)
        counts.matrix += pixels[:-1]
        counts.void += pixels[-1]
    return score(counts)


if __name__ == "__main__":
    run_script(main)
