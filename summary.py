"""What a network costs: python summary.py --backbone resnet50 --input_shape 256,192

Layers, parameters, multiply-adds, memory and seconds per image, at a size of your choice.
Of trained weights: python summary.py --model_path logs/best_epoch_weights.weights.h5
All encoders:       python summary.py --all --input_shape 256,256
With their times:   python summary.py --all --input_shape 256,256 --repeats 5 --time_training
New class names:    python summary.py --model_path W --name_classes nothing,cell --write_names
"""

import dataclasses
import gc
import sys

from errors import RunError, UserError, check_at_least
from nets import checks
from nets.backbones import BACKBONES
from utils.config import load_config, run_script, settings
from utils.quiet import quiet
from utils.runs.memory import estimate_training_memory, explain_out_of_memory, peak_memory

_USUAL = {
    "num_classes": 21, "backbone": "vgg", "width": 64, "decoder_width": 0, "in_channels": 3,
}  # fmt: skip
_USUAL_SHAPE = 512, 512


@settings
class SummaryConfig:
    all: bool = False  # whether to compare all encoders in one table, the cheapest first

    # Network
    model_path: str = ""  # weights file; empty: a network from scratch
    num_classes: int | None = None  # classes + 1 for the background; None: as the file says, or 21
    backbone: str | None = None  # encoder, vgg, resnet50, ...; None: as the file says, or vgg
    width: int | None = None  # filters of the first block; None: as the file says, or 64
    decoder_width: int | None = None  # of the decoder's last stage; None: as the file says, or 0
    in_channels: int | None = None  # channels of an image; None: as the file says, or 3
    input_shape: tuple[int, int] | None = None  # height, width; None: as the file says, or 512,512
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16; auto: what is fast here

    # Names of the classes, in weights that are trained already
    write_names: bool = False  # whether to write name_classes into model_path, and do no more
    name_classes: tuple[str, ...] = ()  # names to write, the background first

    # What is shown and measured
    all_layers: bool = False  # whether to list layers without weights too
    batch_size: int = 1  # images per step, in prediction and in training
    repeats: int | None = None  # timed steps, after one that is not; 0: none; None: 5, 0 with all
    time_training: bool = False  # whether to time training steps too

    def check(self):
        """Raises UserError for values that make no sense."""
        wanted = _USUAL | given(self)
        checks.check_num_classes(wanted["num_classes"])
        checks.check_in_channels(wanted["in_channels"])
        checks.check_decoder_width(wanted["decoder_width"])
        if not self.model_path:  # the file may hold another backbone
            checks.check_input_shape(self.input_shape or _USUAL_SHAPE, wanted["backbone"])
        checks.check_precision(self.precision)
        check_at_least(self, 1, "width", "batch_size")
        check_at_least(self, int(self.time_training), "repeats")
        if self.write_names != bool(self.name_classes) or (
            self.write_names and not self.model_path
        ):
            raise UserError(
                "write_names, name_classes and model_path belong together: the names are written "
                "into that weights file. Give all three."
            )
        if self.all and (self.model_path or self.backbone):
            raise UserError(
                "all compares every encoder, each with new weights. Leave model_path and backbone "
                "out, or leave all out."
            )

    @property
    def steps(self):
        """int, how many steps are timed."""
        usual = 5 if self.time_training or not self.all else 0
        return usual if self.repeats is None else self.repeats


def given(config):
    """What the settings say of the weights, None left out."""
    return {name: value for name in _USUAL if (value := getattr(config, name)) is not None}


def main(config=None):
    """Prints the summary; `config` is a SummaryConfig, or None to read the command line."""
    config = config or load_config(SummaryConfig)
    if config.model_path:  # before Keras, which takes seconds to load
        checks.check_weights_file(config.model_path)
    if config.write_names:
        with quiet():
            from nets.weights.naming import write_names
        print(write_names(config.model_path, config.name_classes))
        return
    try:
        compare(config) if config.all else summarize(config)
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
    if config.steps:
        measure(config, described, model)


def compare(config):
    """Prints a table of networks with all encoders, by their time or else by their work."""
    with quiet():
        from nets.precision import choose_precision
        from training.costs import format_costs
    policy, reason = choose_precision(config.precision)
    print(reason)
    # All before any is run: what that leaves behind would count as the next one's memory.
    costs = [find_cost(config, backbone, policy) for backbone in _each("looking at")]
    if config.steps:
        seconds = [time_encoder(config, backbone, policy) for backbone in _each("timing")]
        costs = [cost._replace(**one) for cost, one in zip(costs, seconds, strict=True)]
    costs.sort(key=lambda cost: (cost.predicted or 0, cost.products))
    print(format_costs(costs))


def _each(doing):
    """Yields the names of all encoders, and says in a terminal which one's turn it is."""
    for number, backbone in enumerate(BACKBONES, start=1):
        if sys.stdout.isatty():
            line = f"{doing} {number}/{len(BACKBONES)} {backbone}"
            print(f"{line:<40}", end="\r", flush=True)
        yield backbone
        gc.collect()  # graphs refer to themselves


def find_cost(config, backbone, policy):
    """The `Cost` of a network with one encoder, untimed."""
    import keras

    from nets.cost import multiply_adds
    from training.costs import Cost

    # Shapes tell it all; the values of all weights would take minutes and gigabytes.
    with keras.StatelessScope(initialize_variables=False):
        described, model = build_encoder(config, backbone, policy)
    memory = estimate_training_memory(model, config.batch_size, described.input_shape)
    return Cost(
        backbone,
        described.decoder_width or BACKBONES[backbone].decoder_width(described.width),
        model.count_params(),
        sum(multiply_adds(layer, layer.output.shape) for layer in model.layers),
        memory + 4 * model.count_params(),
    )


def time_encoder(config, backbone, policy):
    """Seconds per image of a network with one encoder, as `time_network` gives them."""
    return _time(config, *build_encoder(config, backbone, policy))


def build_encoder(config, backbone, policy):
    """(`Description`, model) of a network with one encoder."""
    from nets.precision import dtype_policy
    from nets.unet import build

    described, _ = describe(dataclasses.replace(config, all=False, backbone=backbone))
    with dtype_policy(policy):
        return described, build(described, described.network_shape)


def describe(config):
    """The network to build.

    Returns:
        (`Description`, `Stored` of the weights or None), of `nets.weights.description`.

    Raises:
        UserError: if the file holds another network than the settings say.
    """
    from nets.trained import resolve_description
    from nets.weights.description import Description
    from nets.weights.storage import open_weights

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
    names = max(18, *(len(layer.name) for layer in model.layers))
    for layer in model.layers:
        products = multiply_adds(layer, layer.output.shape)
        total += products
        if all_layers or layer.weights:
            lines.append(
                f"{layer.name:<{names}} {type(layer).__name__:<19} "
                f"{' x '.join(map(str, layer.output.shape[1:])):>17} "
                f"{layer.count_params():>12,} {products / 1e6:>17,.2f} M"
            )
    encoder, rest, moments = count_parameters(model, backbone)
    return "\n".join(
        (
            f"{'layer':<{names}} {'kind':<19} {'output':>17} {'parameters':>12} "
            f"{'multiply-adds':>19}",
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

    seconds = _time(config, described, model)
    if peak := peak_memory():
        print(f"memory of prediction    {peak / 1e9:8.2f} GB (measured: the process)")
    print(
        f"prediction              {seconds['predicted']:8.4f} s per image "
        f"(median of {config.steps}; Keras on {keras.config.backend()})"
    )
    if config.time_training:
        print(f"training, encoder frozen{seconds['frozen']:8.4f} s per image")
        print(f"training, all layers    {seconds['trained']:8.4f} s per image")


def _time(config, described, model):
    from training.costs import time_network

    return time_network(
        model, described, config.batch_size, config.steps, training=config.time_training
    )


if __name__ == "__main__":
    run_script(main)
