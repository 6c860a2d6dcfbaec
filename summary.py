"""What a network costs: python summary.py --backbone resnet50 --input_shape 256,192

Layers, parameters, multiply-adds, memory and seconds per image, at a size of your choice.
Of trained weights: python summary.py --model_path logs/best_epoch_weights.weights.h5
"""

import dataclasses
import statistics
import sys
import time
from functools import partial

import numpy as np

from errors import RunError, check_at_least
from nets import checks
from utils.config import load_config, run_script, settings
from utils.quiet import quiet
from utils.runs.memory import estimate_training_memory, explain_out_of_memory, peak_memory

_USUAL = {"num_classes": 21, "backbone": "vgg", "width": 64, "in_channels": 3}
_USUAL_SHAPE = 512, 512


@settings
class SummaryConfig:
    # Network
    model_path: str = ""  # weights file; empty: a network from scratch
    num_classes: int | None = None  # classes + 1 for the background; None: as the file says, or 21
    backbone: str | None = None  # encoder, vgg or resnet50; None: as the file says, or vgg
    width: int | None = None  # filters of the first block; None: as the file says, or 64
    in_channels: int | None = None  # channels of an image; None: as the file says, or 3
    input_shape: tuple[int, int] | None = None  # height, width; None: as the file says, or 512,512
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16; auto: what is fast here

    # What is shown and measured
    all_layers: bool = False  # whether to list layers without weights too
    batch_size: int = 1  # images per step, in prediction and in training
    repeats: int = 5  # steps that are timed, after one that is not; 0: nothing is run
    time_training: bool = False  # whether to time training steps too

    def check(self):
        """Raises UserError for values that make no sense."""
        wanted = _USUAL | given(self)
        checks.check_num_classes(wanted["num_classes"])
        checks.check_in_channels(wanted["in_channels"])
        if not self.model_path:  # the file may hold another backbone
            checks.check_input_shape(self.input_shape or _USUAL_SHAPE, wanted["backbone"])
        checks.check_precision(self.precision)
        check_at_least(self, 1, "width", "batch_size")
        check_at_least(self, int(self.time_training), "repeats")


def given(config):
    """What the settings say of the weights, None left out."""
    return {name: value for name in _USUAL if (value := getattr(config, name)) is not None}


def main(config=None):
    """Prints the summary; `config` is a SummaryConfig, or None to read the command line."""
    config = config or load_config(SummaryConfig)
    try:
        summarize(config)
    except Exception as error:
        if explain_out_of_memory(error, config.batch_size) is None:
            raise
        raise RunError(
            "Memory ran out. Take a smaller batch_size or input_shape, or repeats 0 to run nothing."
        ) from error


def summarize(config):
    """Builds the network and prints what it costs."""
    # Imported inside functions: Keras takes seconds to load, and --help does without.
    with quiet():
        from nets.precision import choose_precision, dtype_policy
        from nets.unet import build
        from nets.weights.storage import load_weights
    described, stored = describe(config)
    policy, reason = choose_precision(config.precision, described.precision)
    with dtype_policy(policy):
        model = build(described, described.network_shape)
    if stored:
        print(load_weights(model, stored), end="\n\n")
    print(format_layers(model, described.backbone, config.all_layers))
    # Before anything runs: what a prediction leaves behind would count as the network's.
    memory = estimate_training_memory(model, config.batch_size, described.input_shape)
    print(f"\n{reason}\nbatch size              {config.batch_size:8}")
    print(f"memory of training      {memory / 1e9:8.2f} GB (estimated: the process on a CPU, Adam)")
    sys.stdout.flush()  # what follows may take more memory than there is
    if config.repeats:
        measure(config, described, model)


def describe(config):
    """The network to build.

    Returns:
        (`Description`, `Stored` of the weights or None), of `nets.weights.description`.

    Raises:
        UserError: if the file holds another network than the settings say.
    """
    from nets.weights.description import Description
    from nets.weights.storage import open_weights
    from unet import resolve_description

    wanted = given(config)
    if not config.model_path:
        shape = config.input_shape or _USUAL_SHAPE
        return Description(**_USUAL | wanted, input_shape=shape, name_classes=()), None
    stored = open_weights(config.model_path, config.backbone)
    described = resolve_description(stored, None, None, None, None)
    for name, value in wanted.items():
        stored.refuse_other(name, value, getattr(described, name))
    shape = config.input_shape or described.input_shape
    checks.check_input_shape(shape, described.backbone)
    return dataclasses.replace(described, input_shape=shape), stored


def format_layers(model, backbone, all_layers=False):
    """A table of the layers, those without weights only if asked for; and totals."""
    from nets.cost import count_parameters, multiply_adds

    lines, total = [], 0
    for layer in model.layers:
        products = multiply_adds(layer, layer.output.shape)
        total += products
        if all_layers or layer.weights:
            lines.append(
                f"{layer.name:<18} {type(layer).__name__:<19} "
                f"{' x '.join(map(str, layer.output.shape[1:])):>17} "
                f"{layer.count_params():>12,} {products / 1e6:>17,.2f} M"
            )
    encoder, rest, moments = count_parameters(model, backbone)
    return "\n".join(
        (
            f"{'layer':<18} {'kind':<19} {'output':>17} {'parameters':>12} {'multiply-adds':>19}",
            *lines,
            f"\n{model.name}, {' x '.join(map(str, model.input_shape[1:]))}, "
            f"{model.output_shape[-1]} classes",
            f"parameters              {encoder + rest + moments:>11,}",
            f"  of the encoder        {encoder:>11,} (frozen in the first phase of a training)",
            f"  of the other layers   {rest:>11,} (trained from the start)",
            f"  batch statistics      {moments:>11,} (never trained)",
            f"weights                 {4e-6 * model.count_params():>8.1f} MB (in float32)",
            f"multiply-adds per image{total / 1e9:>8.2f} G "
            f"({2e-9 * total:,.1f} GFLOP; convolutions and matrix products alone)",
        )
    )


def measure(config, described, model):
    """Runs the network on noise; prints the time an image, and the memory of prediction."""
    import keras

    from nets.unet import set_encoder_trainable

    rng = np.random.default_rng(0)
    size = (config.batch_size, *described.input_shape)
    images = rng.uniform(-1, 1, (*size, described.in_channels)).astype(np.float32)
    seconds = time_calls(partial(model.predict_on_batch, images), config.repeats)
    if peak := peak_memory():
        print(f"memory of prediction    {peak / 1e9:8.2f} GB (measured: the process)")
    print(
        f"prediction              {seconds / config.batch_size:8.4f} s per image "
        f"(median of {config.repeats}; Keras on {keras.config.backend()})"
    )
    if config.time_training:
        from training.optimization import compile_trainer, make_loss, make_optimizer
        from training.settings import LossSettings, OptimizerSettings

        masks = rng.integers(0, described.num_classes, size).astype(np.uint8)
        for title, train_encoder in (("encoder frozen", False), ("all layers", True)):
            set_encoder_trainable(model, train_encoder, described.backbone)
            optimizer = make_optimizer(OptimizerSettings())
            trainer = compile_trainer(model, optimizer, make_loss(LossSettings()))
            seconds = time_calls(partial(trainer.train_on_batch, images, masks), config.repeats)
            print(f"training, {title:<14}{seconds / config.batch_size:8.4f} s per image")


def time_calls(call, repeats):
    """Median seconds of `call()`, after a first one that compiles."""
    with quiet():
        call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    run_script(main)
