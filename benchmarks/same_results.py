"""Whether another checkout gives the same results as this one, to the bit.

    python benchmarks/same_results.py --other ../unet-keras-before

Runs both on the same drawn data set: check and lists, trainings of several recipes, resuming,
prediction, evaluation. Compares every file that they write: its name, the weights and states as
arrays, images and tables as they are. Texts for people may differ and are only counted.
"""

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import h5py
import numpy as np
from PIL import Image

from errors import UserError
from utils.config import load_config, run_script, settings

ROOT = Path(__file__).resolve().parents[1]
TRAINING = "--num_classes 3 --input_shape 64,64 --width 8 --precision float32 --init_lr 1e-3"
RECIPES = {
    "scratch": '--model_path "" --unfreeze_epoch 3 --eval_period 1 --save_period 2',
    "fine_tuning": (
        "--model_path scratch/last_epoch_weights.weights.h5 --freeze_train --freeze_epoch 1 "
        "--unfreeze_epoch 3 --cls_weights balanced --focal_loss --weight_decay 0.01"
    ),
    "resnet50": (
        '--backbone resnet50 --model_path "" --unfreeze_epoch 2 --optimizer_type sgd '
        "--accumulate_steps 2 --ema_momentum 0.9 --lr_decay_type step --in_channels 1"
    ),
}
COMMANDS = (
    "voc_annotation.py --train_percent 0.75",
    *(f"train.py {TRAINING} {recipe} --save_dir {name}" for name, recipe in RECIPES.items()),
    # A longer run resumes where the first ended.
    f"train.py {TRAINING} {RECIPES['scratch'].replace('3', '4', 1)} --save_dir scratch",
    "predict.py --model_path scratch/last_epoch_weights.weights.h5 --precision float32 --count "
    "--mode dir_predict --dir_origin_path VOCdevkit/VOC2007/JPEGImages --legend",
    "get_miou.py --model_path fine_tuning/last_epoch_weights.weights.h5 --precision float32",
)
# What depends on the clock, or is text for people.
LOOSE = (".html", ".txt", ".lock", "events.", "curves.png", ".data_check.json")
CLOCK = {"waiting"}  # columns of tables


@settings
class SameConfig:
    other: str = ""  # another checkout of this project
    images: int = 8  # to draw


def main(config=None):
    """Compares; `config` is a SameConfig, or None. Returns the exit status: 1 for differences."""
    config = config or load_config(SameConfig)
    if not (Path(config.other) / "train.py").is_file():
        raise UserError(f"other must be a checkout of this project; got {config.other!r}.")
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for checkout in (Path(config.other).resolve(), ROOT):
            work = Path(folder) / str(len(results))
            draw(work / "VOCdevkit" / "VOC2007", config.images)
            for command in COMMANDS:
                print(f"{checkout.name}: {command[:70]}", flush=True)
                run(checkout, command, work)
            results.append(collect(work))
    return compare(*results)


def draw(folder, count):
    """Writes images of three classes with their masks."""
    rng = np.random.default_rng(0)
    for name in ("JPEGImages", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        blocks = rng.integers(0, 3, (5, 6)).astype(np.uint8)
        mask = np.kron(blocks, np.ones((16, 16), np.uint8))[: 70 + index]
        noise = rng.integers(0, 60, (*mask.shape, 3))
        image = np.eye(3)[mask] * 150 + noise
        Image.fromarray(image.astype(np.uint8)).save(folder / "JPEGImages" / f"{index}.png")
        Image.fromarray(mask).save(folder / "SegmentationClass" / f"{index}.png")


def run(checkout, command, work):
    """Runs a script of a checkout; its output is shown if it fails."""
    done = subprocess.run(
        f'"{sys.executable}" "{checkout}/{command.split()[0]}" {command.split(maxsplit=1)[1]}',
        shell=True,
        cwd=work,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_DETERMINISTIC_OPS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(
            f"{checkout}: {command} failed.\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


def collect(folder):
    """{name without dates: content that can be compared} of all files below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = re.sub(r"loss_[\d_]+", "loss_DATE", str(path.relative_to(folder)))
            found[re.sub(r"tfevents.*", "tfevents", name)] = read(path)
    return found


def read(path):
    """A file as a value: arrays, rows, JSON or bytes; None where only the name counts."""
    if any(part in path.name for part in LOOSE):
        return None
    if path.suffix == ".h5":
        arrays = {}
        with h5py.File(path) as file:
            keep = lambda name, one: arrays.update({name: one[()].tobytes()})  # noqa: E731
            file.visititems(lambda name, one: keep(name, one) if hasattr(one, "shape") else None)
        return arrays
    if path.suffix == ".csv":
        with open(path, encoding="utf-8-sig", newline="") as file:
            return [
                {k: v for k, v in row.items() if k not in CLOCK} for row in csv.DictReader(file)
            ]
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    return path.read_bytes()


def compare(other, here):
    """Prints what differs; returns 1 if anything does, else 0."""
    names = sorted(other.keys() | here.keys())
    missing = [name for name in names if name not in other or name not in here]
    differing = [name for name in names if name not in missing and other[name] != here[name]]
    for name in missing:
        print(f"only {'here' if name in here else 'there'}: {name}")
    for name in differing:
        print(f"differs: {name}")
    arrays = sum(len(one) for one in here.values() if isinstance(one, dict))
    print(
        f"{len(names)} files: {len(names) - len(missing) - len(differing)} equal, {len(differing)} "
        f"differ, {len(missing)} on one side alone; {arrays} arrays and fields compared."
    )
    return int(bool(missing or differing))


if __name__ == "__main__":
    run_script(main)
