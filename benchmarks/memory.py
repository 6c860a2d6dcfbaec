"""Peak memory of a training: python benchmarks/memory.py

Draws a few images into a temporary folder and runs train.py on them in a process of its
own, for an epoch of few steps, with validation and the files it saves. Prints the largest
resident memory of that process. Needs os.wait4: not on Windows.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from demo import write_dataset
from utils.config import load_config, run_script, settings


@settings
class MemoryConfig:
    # What to train
    input_shape: tuple[int, int] = (512, 512)  # height, width of training images
    batch_size: int = 2  # images per step
    num_classes: int = 21  # classes + 1 for the background
    width: int = 64  # filters of the first block
    precision: str = "mixed_bfloat16"  # auto, float32, mixed_bfloat16, mixed_float16

    # How
    options: tuple[str, ...] = ("", "--recompute")  # of train.py, one run for each
    steps: int = 4  # of an epoch
    epochs: int = 2  # of a run


def main(config=None):
    """Measures; `config` is a MemoryConfig, or None to read the command line."""
    config = config or load_config(MemoryConfig)
    size = "x".join(map(str, config.input_shape))
    for option in config.options:
        peak = measure(config, option.split())
        print(
            f"{size}, batch size {config.batch_size}, {config.precision} {option or 'as it is'}: "
            f"peak memory {peak / 1e9:.2f} GB",
            flush=True,
        )


def measure(config, options):
    """Trains once with more options of train.py; returns the peak memory in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        devkit = Path(folder) / "VOCdevkit"
        count = config.steps * config.batch_size
        write_dataset(devkit, count + config.batch_size, (360, 480), seed=0)
        names = sorted(path.stem for path in devkit.glob("VOC2007/JPEGImages/*.jpg"))
        lists = devkit / "VOC2007" / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        (lists / "train.txt").write_text("\n".join(names[:count]) + "\n")
        (lists / "val.txt").write_text("\n".join(names[count:]) + "\n")
        return run_training(config, folder, devkit, options)


def run_training(config, folder, devkit, options):
    """Runs train.py; returns its peak memory in bytes."""
    values = {
        "VOCdevkit_path": devkit,
        "save_dir": Path(folder) / "logs",
        "num_classes": config.num_classes,
        "model_path": "",
        "input_shape": ",".join(map(str, config.input_shape)),
        "width": config.width,
        "precision": config.precision,
        "unfreeze_batch_size": config.batch_size,
        "unfreeze_epoch": config.epochs,
        "eval_period": config.epochs,
    }
    command = [sys.executable, str(PROJECT / "train.py"), "--no-freeze_train", *options]
    command += [text for name, value in values.items() for text in (f"--{name}", str(value))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"train.py ended with {os.waitstatus_to_exitcode(status)}.")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    run_script(main)
