"""What a network costs: python summary.py --backbone resnet50 --input_shape 256,192

Layers, parameters, multiply-adds, memory and seconds a picture, at a size of your choice.
Of trained weights: python summary.py --model_path logs/best_epoch_weights.weights.h5
"""

import dataclasses
import statistics
import time

import numpy as np

from errors import RunError, UserError
from nets import checks
from utils.config import load_config, run_script, settings
from utils.memory import estimate_training_memory, explain_out_of_memory, peak_memory
from utils.quiet import quiet

_USUAL = {
    "num_classes": 21,
    "backbone": "vgg",
    "width": 64,
    "in_channels": 3,
    "input_shape": (512, 512),
}


@settings
class SummaryConfig:
    # Network
    model_path: str = ""  # weights file; empty: a network from scratch
    num_classes: int | None = None  # classes + 1 for the background; None: as the file says, or 21
    backbone: str | None = None  # encoder, vgg or resnet50; None: as the file says, or vgg
    width: int | None = None  # filters of the first block; None: as the file says, or 64
    in_channels: int | None = None  # bands of a picture; None: as the file says, or 3
    input_shape: tuple[int, int] | None = None  # height, width; None: as the file says, or 512,512
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16; auto measures

    # What is shown and measured
    all_layers: bool = False  # whether to list layers without weights too
    batch_size: int = 1  # pictures a step, in prediction and in training
    repeats: int = 5  # steps that are timed, after one that is not; 0: nothing is run
    time_training: bool = False  # whether to time training steps too

    def check(self):
        """Raises UserError for values that make no sense."""
        wanted = _USUAL | given(self)
        checks.check_num_classes(wanted["num_classes"])
        checks.check_backbone(wanted["backbone"])
        checks.check_in_channels(wanted["in_channels"])
        if not self.model_path:  # the file may hold another backbone
            checks.check_input_shape(wanted["input_shape"], wanted["backbone"])
        checks.check_precision(self.precision)
        least = {"width": 1, "batch_size": 1, "repeats": int(self.time_training)}
        values = wanted | {"batch_size": self.batch_size, "repeats": self.repeats}
        for name, lowest in least.items():
            if values[name] < lowest:
                raise UserError(f"{name} must be at least {lowest}; got {values[name]}.")


def given(config):
    """The settings of the network that are not None."""
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
            f"Memory ran out at batch size {config.batch_size}. Take a smaller batch_size or "
            "input_shape; with repeats 0 nothing is run."
        ) from error


# What needs Keras is imported inside functions: it takes seconds to load, and --help does
# without.


def summarize(config):
    """Builds the network and prints what it costs."""
    with quiet():
        from nets.precision import choose_precision, dtype_policy
        from nets.unet import build
        from nets.weights import load_weights
    described = describe(config)
    policy, reason = choose_precision(config.precision)
    with dtype_policy(policy):
        model = build(described, described.input_shape)
    if config.model_path:
        load_weights(model, config.model_path)
    print(format_layers(model, described.backbone, config.all_layers))
    # Before anything runs: what a prediction leaves behind would count as the network's.
    memory = estimate_training_memory(model, config.batch_size, described.input_shape)
    print(
        f"\nbatch size {config.batch_size}; {reason}\n"
        f"memory of training      {memory / 1e9:8.2f} GB "
        "(estimated: all of the process, on a CPU, with Adam)",
        flush=True,  # what follows may take more memory than there is
    )
    if config.repeats:
        measure(config, described, model)


def describe(config):
    """The network to build, as a `nets.weights.Description`.

    Raises:
        UserError: if the file does not say what it holds, or holds another network.
    """
    from nets.weights import Description, read_description

    wanted = given(config)
    if not config.model_path:
        return Description(**_USUAL | wanted, name_classes=())
    described = read_description(config.model_path)
    if described is None:
        raise UserError(
            f"{config.model_path} does not say what it holds (a plain Keras file). Leave "
            "model_path empty, and give num_classes, backbone, width and in_channels."
        )
    size = wanted.pop("input_shape", described.input_shape)
    for name, value in wanted.items():
        if value != getattr(described, name):
            raise UserError(
                f"{name} is {value!r}, but {config.model_path} holds {name} "
                f"{getattr(described, name)!r}. Leave {name} out to use the file's."
            )
    return dataclasses.replace(described, input_shape=size)


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
    encoder, rest, statistics = count_parameters(model, backbone)
    height, width, channels = model.input_shape[1:]
    return "\n".join(
        (
            f"{'layer':<18} {'kind':<19} {'output':>17} {'parameters':>12} {'multiply-adds':>19}",
            *lines,
            f"\n{model.name}, {height} x {width} x {channels} to {model.output_shape[-1]} classes",
            f"parameters              {encoder + rest + statistics:>11,}",
            f"  of the encoder        {encoder:>11,} (frozen in the first phase of a training)",
            f"  of the other layers   {rest:>11,} (trained from the start)",
            f"  batch statistics      {statistics:>11,} (never trained)",
            f"weights                 {4e-6 * model.count_params():>8.1f} MB (in float32)",
            f"multiply-adds a picture {total / 1e9:>8.2f} G "
            f"({2e-9 * total:,.1f} GFLOP; convolutions and matrix products alone)",
        )
    )


def measure(config, described, model):
    """Runs the network on noise; prints the time a picture, and the memory of prediction."""
    import keras

    rng = np.random.default_rng(0)
    size = (config.batch_size, *described.input_shape)
    images = rng.uniform(-1, 1, (*size, described.in_channels)).astype(np.float32)
    seconds = time_calls(lambda: model.predict_on_batch(images), config.repeats)
    peak = peak_memory()
    if peak:
        print(f"memory of prediction    {peak / 1e9:8.2f} GB (measured: all of the process)")
    print(
        f"prediction              {seconds / config.batch_size:8.3f} s a picture "
        f"(median of {config.repeats}; Keras on {keras.config.backend()})"
    )
    if config.time_training:
        masks = rng.integers(0, described.num_classes, size).astype(np.uint8)
        for title, train_encoder in (("encoder frozen", False), ("all layers", True)):
            step = training_step(model, described.backbone, train_encoder, images, masks)
            seconds = time_calls(step, config.repeats) / config.batch_size
            print(f"training, {title:<14}{seconds:8.3f} s a picture")


def training_step(model, backbone, train_encoder, images, masks):
    """A callable that trains the network for a step, on CE + Dice with Adam."""
    from nets.unet import set_encoder_trainable
    from training import compile_twin, make_loss, make_optimizer

    set_encoder_trainable(model, train_encoder, backbone)
    twin = compile_twin(model, make_optimizer("adam", 1e-4, 0.9, 0.0), make_loss(True, False))
    return lambda: twin.train_on_batch(images, masks)


def time_calls(call, repeats):
    """Median seconds of `call()`, after a first one that compiles."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    run_script(main)
