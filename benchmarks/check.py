"""Time and memory of checking and splitting many pairs: python benchmarks/check.py

Draws tiny images and masks into a temporary folder, twice as many each time, and runs
voc_annotation.py on them in a process of its own. Needs os.wait4: not on Windows.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

import numpy as np
from PIL import Image

from utils.config import load_config, run_script, settings
from utils.data.masks import mask_to_image


@settings
class CheckConfig:
    # What to draw
    pairs: tuple[int, ...] = (2_500, 5_000, 10_000, 20_000)  # sizes of the sets
    side: int = 24  # pixels of each image's side


def main(config=None):
    """Draws and times; `config` is a CheckConfig, or None to read the command line."""
    config = config or load_config(CheckConfig)
    for count in config.pairs:
        with tempfile.TemporaryDirectory() as folder:
            draw_set(Path(folder), count, config.side)
            seconds, mebibytes = run_check(folder)
        print(
            f"{count:>7,} pairs: {seconds:6.1f} s, {1e3 * seconds / count:.2f} ms per pair, "
            f"peak memory {mebibytes:.0f} MiB",
            flush=True,
        )


def draw_set(folder, count, side):
    """Draws a VOC folder of random images with masks of three classes."""
    rng = np.random.default_rng(0)
    images, masks = (folder / "VOC2007" / name for name in ("JPEGImages", "SegmentationClass"))
    images.mkdir(parents=True)
    masks.mkdir()
    for index in range(count):
        pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{index:06d}.jpg")
        ids = np.zeros((side, side), np.uint8)
        ids[: side // 2, : rng.integers(1, side)] = rng.integers(1, 3)
        mask_to_image(ids).save(masks / f"{index:06d}.png")


def run_check(folder):
    """Runs voc_annotation.py; returns its (seconds, peak memory in MiB)."""
    command = [sys.executable, str(PROJECT / "voc_annotation.py"), "--VOCdevkit_path", folder]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--stratify"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"voc_annotation.py ended with {status}.")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return seconds, usage.ru_maxrss * unit / 2**20


if __name__ == "__main__":
    run_script(main)
