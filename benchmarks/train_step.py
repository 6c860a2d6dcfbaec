"""How fast a network trains: python benchmarks/train_step.py [--upstream CHECKOUT]

For each size and precision, with the encoder frozen and not: seconds and images per second of
a training step, and its share of what this machine can do at best, the ceiling: the fastest
of some 3x3 convolutions in that precision. A step counts as three forward passes, of which a
frozen encoder needs one.

With a checkout of unet-tf2 (its Keras 2 comes with `pip install tf_keras`), upstream's network
with its own step and loss runs in a process of its own, in turn with this project's.

With an interpreter that has PyTorch (`--torch_python`), the same network there, in turn too:
eager, compiled, and compiled in bfloat16 with channels last. The warm-up compiles it.

With `--epochs`, train.py itself: the time from its imports to the end of its first step, and a
whole epoch, data and files included, beside the bare step. Figures are medians. Nothing else
should run meanwhile.
"""

import contextlib
import json
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

from utils.config import load_config, run_script, settings

# Height and width, channels in and out of the convolutions that the ceiling is taken from.
_CONVOLUTIONS = ((128, 128, 128), (64, 256, 256), (64, 512, 512), (32, 512, 512))


_TORCH_WAYS = ("eager", "compiled", "compiled, bfloat16, channels last")


@settings
class StepConfig:
    # What to run
    sizes: tuple[int, ...] = (128, 256, 512)  # sides of the square images
    batch_sizes: tuple[int, ...] = (8, 4, 2)  # images per step, for each size
    precisions: tuple[str, ...] = ("mixed_bfloat16", "float32")  # of this project's network
    frozen: tuple[bool, ...] = (False, True)  # whether the encoder is frozen
    backbone: str = "vgg"  # vgg or resnet50
    num_classes: int = 21  # classes + 1 for the background

    # Beside it
    upstream: str = ""  # checkout of unet-tf2 to run in turn, not frozen
    upstream_python: str = sys.executable  # interpreter that has tf_keras
    torch_python: str = ""  # interpreter that has PyTorch, to run the same network in turn
    epochs: bool = False  # whether to time the start and whole epochs of train.py, at the last size

    # How
    steps: int = 5  # of each timing, after two that are not counted


def main(config=None):
    """Measures; `config` is a StepConfig, or None to read the command line."""
    config = config or load_config(StepConfig)
    ceilings = {name: measure_ceiling(name) for name in config.precisions}
    for name, flops in ceilings.items():
        print(f"ceiling, {name}: {flops / 1e9:,.0f} GFLOP/s", flush=True)
    bare = None
    for side, batch_size in zip(config.sizes, config.batch_sizes, strict=True):
        with contextlib.ExitStack() as stack:
            steps = {}
            for precision in config.precisions:
                for frozen in config.frozen:
                    name = f"{precision}{', encoder frozen' if frozen else ''}"
                    steps[name] = Step(config, side, batch_size, precision, frozen)
            if config.upstream:
                upstream = stack.enter_context(start_upstream(config, side, batch_size))
                steps["upstream"] = lambda upstream=upstream: upstream.call("step")
            if config.torch_python:
                peer = stack.enter_context(start_torch(config, side, batch_size))
                for way in _TORCH_WAYS:
                    steps[f"PyTorch, {way}"] = lambda way=way, peer=peer: peer.call(way)
            seconds = time_in_turn(steps, config.steps, warm_up=2)
        report(side, batch_size, steps, seconds, ceilings)
        bare = seconds[next(iter(steps))] / batch_size
    if config.epochs:
        time_epochs(config, bare)


def measure_ceiling(precision, repeats=7):
    """The floating point operations a second of the fastest convolution."""
    from keras import ops

    dtype = precision.removeprefix("mixed_")
    rng, best = np.random.default_rng(0), 0
    for side, before, after in _CONVOLUTIONS:
        image = ops.cast(rng.standard_normal((2, side, side, before), np.float32), dtype)
        kernel = ops.cast(rng.standard_normal((3, 3, before, after), np.float32), dtype)
        operations = 2 * 2 * side * side * 9 * before * after
        for _ in range(repeats):
            start = time.perf_counter()
            pixel = ops.conv(image, kernel, padding="same")[0, 0, 0, :1]
            ops.convert_to_numpy(ops.cast(pixel, "float32"))  # waits for the result
            best = max(best, operations / (time.perf_counter() - start))
    return best


class Step:
    """A training step of this project, on noise."""

    def __init__(self, config, side, batch_size, precision, frozen):
        import keras

        from nets.cost import multiply_adds
        from nets.precision import dtype_policy
        from nets.unet import Unet, set_encoder_trainable
        from training.optimization import compile_trainer, make_loss, make_optimizer
        from training.settings import LossSettings, OptimizerSettings

        keras.utils.set_random_seed(0)
        with dtype_policy(precision):
            model = Unet((side, side, 3), config.num_classes, config.backbone)
        encoder = set_encoder_trainable(model, not frozen, config.backbone)
        self.precision = precision
        self.operations = (
            2
            * batch_size
            * sum(
                multiply_adds(layer, layer.output.shape)
                * (1 if frozen and layer.name in encoder else 3)
                for layer in model.layers
            )
        )
        optimizer = make_optimizer(OptimizerSettings())
        self._trainer = compile_trainer(model, optimizer, make_loss(LossSettings()))
        rng = np.random.default_rng(0)
        size = (batch_size, side, side)
        self._batch = (
            rng.uniform(-1, 1, (*size, 3)).astype(np.float32),
            rng.integers(0, config.num_classes, size).astype(np.uint8),
        )

    def __call__(self):
        self._trainer.train_on_batch(*self._batch)


def report(side, batch_size, steps, seconds, ceilings):
    """Prints a line for each step."""
    print(f"\n{side}x{side}, batch size {batch_size}:")
    for name, taken in seconds.items():
        line = f"  {name:<30} {taken / batch_size:7.4f} s per image, {batch_size / taken:6.2f} a s"
        step = steps[name]
        if isinstance(step, Step):
            line += f", {step.operations / taken / ceilings[step.precision]:.0%} of the ceiling"
        if "upstream" in seconds and name != "upstream":
            line += f"; {seconds['upstream'] / taken:.2f} times upstream"
        print(line, flush=True)


def make_options(config, folder, count):
    """Draws images for train.py; returns its settings, by name."""
    from demo import write_dataset

    devkit = Path(folder) / "VOCdevkit"
    side, batch_size = config.sizes[-1], config.batch_sizes[-1]
    write_dataset(devkit, count + batch_size, (side, side), seed=0)
    names = sorted(path.stem for path in devkit.glob("VOC2007/JPEGImages/*.jpg"))
    lists = devkit / "VOC2007" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(names[:count]) + "\n")
    (lists / "val.txt").write_text("\n".join(names[count:]) + "\n")
    return {
        "VOCdevkit_path": str(devkit),
        "save_dir": str(Path(folder) / "logs"),
        "model_path": "",
        "num_classes": config.num_classes,
        "input_shape": (side, side),
        "backbone": config.backbone,
        "precision": config.precisions[0],
        "unfreeze_epoch": 3,
        "unfreeze_batch_size": batch_size,
        "save_period": 1,
        "eval_flag": False,
    }


def time_training(options):
    """Runs train.py; returns seconds: after imports to the end of the first step, and of the
    last epoch, its data, its few validation images and its files included."""
    command = [sys.executable, "-c", _TRAINING, json.dumps(options)]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(run.stdout.splitlines()[-1])


def time_epochs(config, bare, count=40):
    """Prints how train.py starts, and how its whole epochs compare with the bare step."""
    with tempfile.TemporaryDirectory() as folder:
        first, epoch = time_training(make_options(config, folder, count))
    print(f"\ntrain.py: {first:.1f} s from imports to the end of the first step")
    print(
        f"its last epoch: {epoch / count:.4f} s per image, all included; the bare step "
        f"{bare:.4f}: {bare * count / epoch:.0%} of its speed"
    )


_TRAINING = """
import json, sys, time
import train, training
from utils.runs import progress

class Clock(progress.RunClock):
    first, ends = [], []
    def end_step(self, images):
        super().end_step(images)
        self.first.append(time.perf_counter())
    def end_epoch(self):
        self.ends.append(time.perf_counter())
        return super().end_epoch()

progress.RunClock = Clock
start = time.perf_counter()
train.main(train.TrainConfig(**json.loads(sys.argv[1])))
print(json.dumps([Clock.first[0] - start, Clock.ends[-1] - Clock.ends[-2]]))
"""


def start_upstream(config, side, batch_size):
    """A process that trains upstream's network on noise, with its own step and loss."""
    options = {"side": side, "batch": batch_size, "classes": config.num_classes}
    options |= {"backbone": config.backbone}
    return Upstream(config.upstream_python, config.upstream, _UPSTREAM, options)


def start_torch(config, side, batch_size):
    """A process that trains the same network on noise in PyTorch."""
    options = {"side": side, "batch": batch_size, "classes": config.num_classes}
    code = (Path(__file__).with_name("peers_code") / "step_torch.py").read_text(encoding="utf-8")
    return Upstream(config.torch_python, ROOT, code, options)


# Runs in the checkout, and only calls upstream's own functions.
_UPSTREAM = """
import json, sys
sys.path.insert(0, ".")
import numpy as np
import tensorflow as tf
from nets.unet import Unet
from nets.unet_training import dice_loss_with_CE
from utils.utils_fit import get_train_step_fn
from utils.utils_metrics import f_score

options = json.loads(sys.argv[1])
side, batch, classes = options["side"], options["batch"], options["classes"]
net = Unet([side, side, 3], classes, options["backbone"])
step = get_train_step_fn(None)
rng = np.random.default_rng(0)
images = tf.constant(rng.uniform(-1, 1, (batch, side, side, 3)), tf.float32)
ids = rng.integers(0, classes, (batch, side, side))
labels = tf.constant(np.eye(classes + 1)[ids], tf.float32)
optimizer = tf.keras.optimizers.Adam(1e-4)
loss, metric = dice_loss_with_CE(np.ones([classes], np.float32)), f_score()
for line in sys.stdin:
    value, _ = step(images, labels, net, optimizer, loss, metric)
    float(value)
    print("done", flush=True)
"""


if __name__ == "__main__":
    run_script(main)
