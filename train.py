"""Trains the network on a VOC folder: python train.py

Edit the settings below, at least num_classes, or give them on the command line:
python train.py --num_classes 3 --input_shape 256,256 --freeze_train
"""

import dataclasses
from pathlib import Path

import numpy as np  # noqa: F401  # the article's cls_weights are np.ones([num_classes])

from errors import UserError, check_at_least, check_choice
from nets.checks import check_input_shape
from training.engine import FIXED, check_engine, parse_engine
from training.engine_choice import EngineChoice
from training.folds import check_folds, train_folds
from training.phases import PhaseSettings
from training.plan import check_plan
from training.resuming import open_or_resume, stored_plan, to_json
from training.settings import (
    SHIPPED,
    DataSettings,
    LossSettings,
    NetworkSettings,
    OptimizerSettings,
    ReportSettings,
    TrainingSettings,
)
from utils.checking.problems import format_problems
from utils.checking.report import check_samples
from utils.config import (
    format_settings,
    load_config,
    run_script,
    settings,
    take,
    typed_settings,
)
from utils.data.augment import Augment
from utils.data.class_weights import balanced_weights
from utils.data.voc import Samples, read_samples
from utils.distributed.distribution import open_devices
from utils.files import whole_file, write_json
from utils.images.scaling import check_value_range
from utils.labels import note_of_alike_names
from utils.quiet import quiet
from utils.runs.folder import discard
from utils.runs.memory import return_free_memory
from utils.runs.resume import check_same, describe_run
from utils.runs.summary import format_interruption, format_summary
from utils.runs.time_limit import TimeLimit


@settings
class TrainConfig:
    # What fits by itself
    plan: str = "off"  # auto: settings left as shipped are chosen for these images, this machine
    time_limit: float = 0.0  # minutes that the whole run may take; 0: as many as its epochs take

    # Data
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    num_classes: int = 21  # classes + 1 for the background
    name_classes: tuple[str, ...] = ()  # names, the background first; empty: VOC's, or numbered
    ignore_labels: tuple[int, ...] = (255,)  # mask values that are void: never trained or scored
    train_list: str = "train"  # list in ImageSets/Segmentation, or the path of a .txt file
    val_list: str = "val"  # same for validation
    folds: int = 0  # cross-validation: so many trainings, each validated on other images; 0: off
    num_workers: int = 0  # threads that read and augment images; 0: one per processor
    cache_gb: float = 0.0  # memory for decoded images, which are then read only once

    # Network
    backbone: str = "vgg"  # encoder: vgg, resnet50, ...; python summary.py --all lists all
    in_channels: int = 3  # channels of an image: 3 colour, 1 grey; more: TIFF files with that many
    value_range: tuple[float, ...] | str = ()  # beyond 8 bits: low,high; percentiles; empty: found
    model_path: str = "auto"  # weights to start from; auto: imagenet if it can be had; empty: none
    new_head: bool = False  # whether the head starts anew, though weights have as many classes
    imagenet_url: str = ""  # mirror for ImageNet weights: a file, or the folder that holds it
    decoder_norm: str = "none"  # normalization in the decoder: none (the article's), batch, group
    input_shape: tuple[int, int] = (512, 512)  # height, width of training images
    val_input_shape: tuple[int, int] | None = None  # of validation, prediction; None: input_shape
    val_window: tuple[int, int] | None = None  # overlapping windows of a large one; None: whole
    width: int = 64  # filters of the first block; 64 is the article's network, 32 a quarter of it
    decoder_width: int = 0  # filters of the decoder's last stage; 0: the encoder's, at most 64
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16; auto: what is fast here
    engine: str = "auto"  # auto: timed once if the run is long; fixed; or onednn,three_layers, ...

    # Phases: with freeze_train, epochs up to freeze_epoch train the decoder only
    init_epoch: int = 0  # first epoch, from 0
    freeze_train: bool = False  # whether to freeze the encoder first; needs weights in model_path
    freeze_epoch: int = 50  # epoch at which the encoder is unfrozen
    freeze_batch_size: int = 2  # images per step while frozen
    unfreeze_epoch: int = 100  # last epoch
    unfreeze_batch_size: int = 2  # images per step after that
    accumulate_steps: int = 1  # gradient accumulation: steps averaged before weights change
    recompute: bool = False  # gradient checkpointing: less memory for a third more work
    early_stopping_patience: int = 0  # epochs without a lower val_loss before a phase ends; 0: off
    early_stopping_min_delta: float = 0.0  # what val_loss must fall by to count as lower

    # Optimizer
    optimizer_type: str = "adam"  # adam or sgd (then init_lr 1e-2, weight_decay 1e-4 are usual)
    init_lr: float = 1e-4  # highest learning rate
    scale_lr_by_batch: bool = False  # whether rates are multiplied by batch size / 16
    min_lr: float | None = None  # last learning rate; None: init_lr / 100
    lr_decay_type: str = "cos"  # cos or step
    momentum: float = 0.9  # momentum of sgd, beta_1 of adam
    weight_decay: float = 0.0  # decoupled (adam with it is AdamW); not on biases, normalization
    ema_momentum: float = 0.0  # above 0, the weights' moving average is scored and saved; 0.99

    # Loss
    dice_loss: bool = True  # adds Dice loss, as the article does
    dice_present_only: bool = False  # whether Dice averages only the classes that a batch holds
    focal_loss: bool = False  # focal loss instead of cross-entropy
    cls_weights: tuple[float, ...] | str = ()  # one weight per class; empty: all 1; or balanced
    border_weight: float = 0.0  # w0 of the U-Net paper: background between objects; 10; 0: off
    border_sigma: float = 5.0  # pixels: how far apart objects may be for that; the paper's sigma

    # Augmentation
    crops_per_image: int = 1  # times that an epoch takes each image, augmented anew
    rare_crops: float = 0.0  # share of crops that must hold a pixel of a rare class
    jitter: float = 0.3  # change of the aspect ratio, each way
    scale: tuple[float, float] = (0.25, 2.0)  # least, most size of an image, in input_shape
    flip: float = 0.5  # probability of a left-right flip
    hue: float = 0.1  # change of the hue, each way
    saturation: float = 0.7  # change of the saturation, each way
    value: float = 0.3  # change of the brightness, each way
    flip_vertical: float = 0.0  # probability of an up-down flip
    quarter_turn: float = 0.0  # probability of a turn by 90, 180 or 270 degrees
    rotation: float = 0.0  # largest turn, degrees each way
    elastic: float = 0.0  # elastic deformation: displacement in units of the crop's side; 0.02
    gamma: float = 0.0  # exponent of the brightness: 1 / (1 + gamma) to 1 + gamma
    contrast: float = 0.0  # change of the contrast, each way
    blur: float = 0.0  # largest standard deviation of a Gaussian blur, pixels
    noise: float = 0.0  # largest standard deviation of Gaussian noise, grey levels of 255
    low_resolution: float = 0.0  # largest share of the resolution that is lost
    cutout: float = 0.0  # longest side of a grey rectangle, in units of the crop's

    # Files and scores
    save_dir: str = "logs"  # where weights, curves and logs go
    save_period: int = 5  # epochs between numbered weights files; 0: none
    eval_flag: bool = True  # whether to score mIoU on the validation images
    eval_period: int = 5  # epochs between two such scores
    seed: int = 11  # of the start weights, the order and the augmentation
    resume: str = "auto"  # auto: an interrupted run resumes; never: a new run

    # Devices; batch sizes are of all of them together
    devices: int = 1  # GPUs that each machine trains on; 0: all it has

    def check(self):
        """Raises UserError for values that make no sense together; needs no data."""
        check_choice("resume", self.resume, ("auto", "never"))
        check_plan(self.plan, self.time_limit)
        check_folds(self.folds)
        check_input_shape(self.input_shape, self.backbone)
        check_value_range(self.value_range)
        check_engine(self.engine)
        check_at_least(self, 0, "devices")
        # The other parts check themselves.
        self.parts.loss.check(self.num_classes, self.ignore_labels)

    @property
    def parts(self):
        """The settings by part, as the package `training` takes them."""
        shape = self.val_input_shape or self.input_shape
        return TrainingSettings(
            network=take(NetworkSettings, self, val_input_shape=shape),
            data=take(DataSettings, self, augment=take(Augment, self)),
            phases=take(PhaseSettings, self),
            optimizer=take(OptimizerSettings, self),
            loss=take(LossSettings, self),
            report=take(ReportSettings, self),
        )


def main(config=None):
    """Trains; `config` is a TrainConfig, or None to read the command line.

    Returns:
        int, exit status, of several folds; else None.
    """
    config = config or load_config(TrainConfig)
    if config.folds:
        return train_folds(config, __file__)
    with open_devices(config.devices) as devices:
        train(config, devices)


def train(config, devices):
    """The recipe: check the data, plan the phases, build the network, fit it, sum up."""
    limit = TimeLimit(60 * config.time_limit)
    check_plan(config.plan, config.time_limit, devices.processes)
    print(format_settings(config, SHIPPED))
    if note := note_of_alike_names(config.name_classes):
        print(note)
    samples, value_range = read_data(config, devices)
    described = describe_run(to_json(config), samples.train, samples.val)
    check_same(devices.gather(described))
    run = devices.from_chief(lambda: open_or_resume(config, described))
    if run.state:  # it resumes as it began
        value_range = run.state.facts["description"].get("value_range")
    try:
        engine = choose_engine(config, samples, run, devices)
        planned, table = follow_plan(config, samples, run, value_range)
        config = dataclasses.replace(config, **planned, value_range=value_range or ())
        engine.after_planning(config.parts)
        config = dataclasses.replace(config, engine=str(engine.engine))
        stored = run.state.facts.get("plan", {}) if run.state else {}
        facts = {"run": described, "plan": stored | planned, "engine": config.engine}
        training, phases = begin(config, samples, facts, run, devices, limit)
        if devices.chief:
            save_settings(config, table, run.folder)
    except UserError:
        if devices.chief:
            discard(run)
        raise
    try:
        with training.callbacks.progress:
            for phase in phases:
                training.run_phase(phase)
    except KeyboardInterrupt:
        print(f"\n{format_interruption(run.folder, config.resume)}")
        raise
    if training.callbacks.stopped:
        print(f"\nStopped early. {training.callbacks.patience}")
    print("\nDone.", sum_up(config, training), sep="\n")


def read_data(config, devices):
    """Reads the lists and checks all images and masks, before anything that takes long.

    Returns:
        (Samples, what images of more than 8 bits are read in, or None).
    """
    samples = Samples(
        read_samples(config.VOCdevkit_path, config.train_list),
        read_samples(config.VOCdevkit_path, config.val_list),
    )
    report = check_samples(
        *samples,
        config.num_classes,
        config.ignore_labels,
        in_channels=config.in_channels,
        value_range=config.value_range,
        workers=config.num_workers,
        cache=Path(config.save_dir) / ".data_check.json" if devices.chief else None,
        progress=devices.chief,
    )
    if report.brightness.text:
        print(report.brightness.text)
    if report.problems:
        print(format_problems(report))
    print(f"Images to train: {len(samples.train)}, to validate: {len(samples.val)}.")
    return samples, report.brightness.value_range


def choose_engine(config, samples, run, devices):
    """The `training.engine_choice.EngineChoice` of a run, as far as Keras must not be loaded."""
    stored = run.state.facts.get("engine", FIXED) if run.state else None
    single = devices.count == devices.processes == 1
    choice = EngineChoice(config.engine, stored, single)
    choice.before_loading(config.parts, len(samples.train), config.plan != "off")
    return choice


def follow_plan(config, samples, run, value_range=None):
    """The settings that a plan chooses, {name: value}, and its table, or "".

    A run that resumes keeps its own, whatever the machine does today, but for what is set.
    """
    if config.plan == "off":
        return {}, ""
    if run.state:
        return stored_plan(run.state.facts, config), ""
    with quiet():
        from training.planning import draw_up_plan

    plan = draw_up_plan(config, samples.train, typed_settings(config), value_range)
    print(f"\n{plan}\n")
    return plan.values, f"{plan}\n"


def begin(config, samples, facts, run, devices, limit):
    """Plans the phases and builds the network, as new or as the run left it.

    Args:
        config: TrainConfig, with what the plan chose.
        samples: `utils.data.voc.Samples`.
        facts: dict of what is known of the run for its state: "run", "plan", "engine".
        run: `utils.runs.folder.Run`.
        devices: `utils.distributed.devices.Devices`.
        limit: `utils.runs.time_limit.TimeLimit`.

    Returns:
        (`training.loop.Training`, list of `training.phases.Phase`).
    """
    if config.recompute:  # who asks for that needs memory more than time
        return_free_memory()
    with quiet():  # Keras takes seconds to load, and all before this does without
        from training.loop import Training
        from training.network import build_network
        from training.reporting import make_callbacks
        from training.start import get_start

    parts = config.parts
    start = devices.from_chief(
        lambda: get_start(run.state, facts["run"], config.model_path, parts.network)
    )
    if config.freeze_train and not start:
        print("freeze_train is skipped: a network from scratch has nothing to keep frozen.")
    phases = parts.phases.plan(start)
    for phase in phases:
        devices.check(phase.batch_setting, phase.batch_size, config.accumulate_steps)
    parts = dataclasses.replace(parts, loss=count_class_weights(parts, samples))
    fused = parse_engine(config.engine).fused
    network = build_network(parts.network, start, run.state, devices, fused)
    facts = facts | {"start": start}
    callbacks = make_callbacks(parts, network, samples, run, facts, devices, limit)
    training = Training(parts, samples, devices, run, network, callbacks, limit)
    training.check_time(phases)
    return training, phases


def save_settings(config, table, folder):
    """Writes the resolved settings into the run's folder, and the plan's table if there is one."""
    write_json(folder / "settings.json", to_json(config))
    print(f"All settings: {folder / 'settings.json'}")
    if table:
        with whole_file(folder / "plan.txt") as temporary:
            temporary.write_text(table, encoding="utf-8")


def count_class_weights(parts, samples):
    """The settings of the loss, with class weights that are counted where they are "balanced"."""
    if parts.loss.cls_weights != "balanced":
        return parts.loss
    weights, note = balanced_weights(
        samples.train,
        parts.network.num_classes,
        parts.network.ignore_labels,
        parts.data.num_workers,
    )
    print(note)
    return dataclasses.replace(parts.loss, cls_weights=weights)


def sum_up(config, training):
    """The last words: the scores, where the files are, and the next commands."""
    # What get_miou.py must be told to score the same images.
    usual = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    options = {
        name: value
        for name in ("VOCdevkit_path", "val_list")
        if (value := getattr(config, name)) != usual[name]
    }
    return format_summary(
        training.callbacks.log.state["rows"],
        training.callbacks.scoring.last_scores,
        training.description.name_classes,
        training.run.folder,
        training.run.public or training.run.folder,
        data_options=options,
        cls_weights=config.cls_weights,
        focal_loss=config.focal_loss,
    )


if __name__ == "__main__":
    run_script(main)
