"""Trains the network on a VOC folder: python train.py

Edit the settings below, at least num_classes, or give them on the command line:
python train.py --num_classes 3 --input_shape 256,256 --no-freeze_train
"""

import dataclasses
import json
from pathlib import Path

from errors import RunError, UserError
from nets.checks import (
    DECODER_NORMS,
    check_in_channels,
    check_input_shape,
    check_num_classes,
    check_precision,
)
from utils.checking.problems import format_problems
from utils.checking.report import check_samples
from utils.config import format_settings, load_config, run_script, settings
from utils.data.augment import Augment
from utils.data.class_weights import balanced_weights
from utils.data.voc import read_samples
from utils.distributed.distribution import open_devices
from utils.files import whole_file
from utils.labels import check_ignore_labels, class_names
from utils.quiet import quiet
from utils.runs.folder import discard, open_run
from utils.runs.lr_schedule import SCHEDULES, learning_rate, scaled_rate
from utils.runs.memory import (
    available_memory,
    describe_memory,
    explain_out_of_memory,
    return_free_memory,
)
from utils.runs.resume import check_same, describe_run, find_changes, update_facts
from utils.runs.summary import format_summary

_SHOWN = 4  # validation images that TensorBoard shows
_OF_CHIEF = {"checkpoints", "log", "board", "state"}  # hooks that write files


@settings
class TrainConfig:
    # Data
    VOCdevkit_path: str = "VOCdevkit"  # folder that holds VOC2007
    num_classes: int = 21  # classes + 1 for the background
    name_classes: tuple[str, ...] = ()  # names, the background first; empty: VOC's, or numbered
    ignore_labels: tuple[int, ...] = (
        255,
    )  # mask values that are void: never trained, never scored
    train_list: str = "train"  # list in ImageSets/Segmentation, or the path of a .txt file
    val_list: str = "val"  # same for validation
    num_workers: int = 0  # threads that read and augment images; 0: one a processor
    cache_gb: float = 0.0  # memory for decoded images, which are then read only once

    # Network
    backbone: str = "vgg"  # encoder: vgg or resnet50
    in_channels: int = 3  # channels of an image: 3 colour, 1 grey; more: TIFF files with that many
    model_path: str = "auto"  # weights to start from; auto: imagenet if it can be had; empty: none
    imagenet_url: str = ""  # mirror for ImageNet weights: a file, or the folder that holds it
    decoder_norm: str = "none"  # normalization in the decoder: none (the article's), batch, group
    input_shape: tuple[int, int] = (512, 512)  # height, width of training images; multiples of 16
    val_input_shape: tuple[int, int] | None = (
        None  # same for validation and prediction; None: input_shape
    )
    width: int = (
        64  # filters of the first block; 64 is the article's network, 32 has a quarter of it
    )
    precision: str = "auto"  # auto, float32, mixed_bfloat16, mixed_float16; auto measures

    # Phases: epochs up to freeze_epoch train the decoder only, the rest everything
    init_epoch: int = 0  # first epoch, from 0
    freeze_train: bool = True  # whether to freeze the encoder first; needs weights in model_path
    freeze_epoch: int = 50  # epoch at which the encoder is unfrozen
    freeze_batch_size: int = 2  # images a step while frozen
    unfreeze_epoch: int = 100  # last epoch
    unfreeze_batch_size: int = 2  # images a step after that
    accumulate_steps: int = 1  # steps whose gradients are averaged before weights change
    recompute: bool = False  # whether to compute activations twice, which saves memory
    early_stopping_patience: int = 0  # epochs without a lower val_loss before it stops; 0: never

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
    cls_weights: tuple[float, ...] | str = ()  # weight a class in the loss; empty: 1; or balanced

    # Augmentation
    jitter: float = 0.3  # change of the aspect ratio, each way
    scale: tuple[float, float] = (0.25, 2.0)  # least, most size of an image, in input_shape
    flip: float = 0.5  # probability of a left-right flip
    hue: float = 0.1  # change of the hue, each way
    saturation: float = 0.7  # change of the saturation, each way
    value: float = 0.3  # change of the brightness, each way

    # Files and scores
    save_dir: str = "logs"  # where weights, curves and logs go
    save_period: int = 5  # epochs between numbered weights files; 0: none
    eval_flag: bool = True  # whether to score mIoU on the validation images
    eval_period: int = 5  # epochs between two such scores
    seed: int = 11  # of the start weights, the order and the augmentation
    resume: str = "auto"  # auto: goes on with an interrupted run; never: a new run

    # Devices; batch sizes are of all of them together
    devices: int = 1  # GPUs that each machine trains on; 0: all it has

    def check(self):
        """Raises UserError for values that make no sense together; needs no data."""
        counts = ("width", "freeze_batch_size", "unfreeze_batch_size", "eval_period")
        _check_at_least(self, 1, *counts, "accumulate_steps")
        _check_at_least(self, 0, "num_workers", "save_period", "init_epoch", "seed")
        _check_at_least(self, 0, "devices")
        _check_at_least(self, 0, "early_stopping_patience")
        _check_at_least(self, 0, "momentum", "weight_decay", "cache_gb", "ema_momentum")
        if self.ema_momentum >= 1:
            raise UserError(
                f"ema_momentum must be below 1; got {self.ema_momentum}. 0.99 averages over about "
                "the last 100 steps; 0 switches it off."
            )
        check_num_classes(self.num_classes)
        check_in_channels(self.in_channels)
        check_input_shape(self.input_shape, self.backbone)
        check_input_shape(self.prediction_shape, self.backbone)
        check_precision(self.precision)
        class_names(self.num_classes, self.name_classes)
        check_ignore_labels(self.ignore_labels)
        _check_choice(self, "optimizer_type", ("adam", "sgd"))
        _check_choice(self, "decoder_norm", DECODER_NORMS)
        if self.recompute and self.decoder_norm == "batch":
            raise UserError(
                "recompute saves nothing with decoder_norm batch, whose statistics must be counted "
                "once. Set decoder_norm to group, or recompute to false."
            )
        _check_choice(self, "lr_decay_type", SCHEDULES)
        _check_choice(self, "resume", ("auto", "never"))
        if isinstance(self.cls_weights, str):
            _check_choice(self, "cls_weights", ("balanced",))
        elif self.cls_weights and len(self.cls_weights) != self.num_classes:
            raise UserError(
                f"cls_weights holds {len(self.cls_weights)} numbers, but num_classes is "
                f"{self.num_classes}. Give one weight a class, the background first."
            )
        if not 0 < self.last_lr <= self.init_lr:
            raise UserError(
                f"Learning rates must be 0 < min_lr <= init_lr; got min_lr={self.last_lr}, "
                f"init_lr={self.init_lr}."
            )
        if not self.init_epoch < self.unfreeze_epoch:
            raise UserError(
                f"There is no epoch to train: init_epoch is {self.init_epoch}, unfreeze_epoch "
                f"(the last one) is {self.unfreeze_epoch}."
            )
        self.make_augment()

    @property
    def last_lr(self):
        """The learning rate of the last epochs."""
        return self.init_lr / 100 if self.min_lr is None else self.min_lr

    @property
    def prediction_shape(self):
        """(height, width) for validation, and for prediction later on."""
        return self.val_input_shape or self.input_shape

    def make_augment(self):
        """The augmentation, which checks its own settings."""
        return Augment(self.jitter, self.scale, self.flip, self.hue, self.saturation, self.value)


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of epochs with one set of trainable layers."""

    title: str
    first_epoch: int
    last_epoch: int
    batch_size: int
    train_encoder: bool

    @property
    def batch_setting(self):
        """The name of the setting that `batch_size` comes from."""
        return "unfreeze_batch_size" if self.train_encoder else "freeze_batch_size"


def main(config=None):
    """Trains; `config` is a TrainConfig, or None to read the command line."""
    config = config or load_config(TrainConfig)
    with open_devices(config.devices) as devices:
        train_on(devices, config)


def train_on(devices, config):
    """Trains on `utils.distributed.devices.Devices`."""
    print(format_settings(config))
    train_samples = read_samples(config.VOCdevkit_path, config.train_list)
    val_samples = read_samples(config.VOCdevkit_path, config.val_list)
    report = check_samples(
        train_samples,
        val_samples,
        config.num_classes,
        config.ignore_labels,
        in_channels=config.in_channels,
        workers=config.num_workers,
        cache=Path(config.save_dir) / ".data_check.json" if devices.chief else None,
        progress=devices.chief,
    )
    if report.problems:
        print(format_problems(report))
    print(f"{len(train_samples)} images to train, {len(val_samples)} to validate.")

    described = describe_run(to_json(config), train_samples, val_samples)
    check_same(devices.gather(described))
    run = devices.from_chief(
        lambda: open_run(
            config.save_dir,
            config.resume,
            lambda state: find_changes_since(state, described, config),
            config.unfreeze_epoch,
        )
    )
    try:
        start = devices.from_chief(lambda: get_start(run.state, described, config))
        if config.freeze_train and not start:
            print("freeze_train is skipped: a network from scratch has nothing to keep frozen.")
        phases = plan_phases(config, start)
        for phase in phases:
            devices.check(phase.batch_setting, phase.batch_size, config.accumulate_steps)
        cls_weights = choose_class_weights(config, train_samples)
        model, description = build(config, start, run.state, devices)
    except UserError:
        if devices.chief:
            discard(run)
        raise
    if devices.chief:
        write_settings(config, run.folder)
    facts = {"run": described, "start": start}
    hooks = make_hooks(config, model, description, val_samples, run, facts, devices)
    try:
        with hooks["progress"]:
            for phase in phases:
                over = run.state and run.state.epoch >= phase.last_epoch
                if not over and not hooks["patience"].stopped:
                    samples = train_samples, val_samples
                    run_phase(config, phase, model, *samples, cls_weights, hooks, run, devices)
    except KeyboardInterrupt:
        print("\nThe same command goes on after the last finished epoch.")
        raise
    if hooks["patience"].stopped:
        print(f"\nStopped early. {hooks['patience']}")
    print(
        "\nDone.",
        format_summary(
            hooks["log"].state["rows"],
            hooks["scoring"].last_scores,
            description.name_classes,
            run.folder,
            run.public or run.folder,
            data_options=get_miou_options(config),
            cls_weights=config.cls_weights,
            focal_loss=config.focal_loss,
        ),
        sep="\n",
    )


def get_miou_options(config):
    """What get_miou.py must be told to score the same images."""
    names = ("VOCdevkit_path", "val_list")
    usual = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    values = {name: getattr(config, name) for name in names}
    return {name: value for name, value in values.items() if value != usual[name]}


def choose_class_weights(config, train_samples):
    """The weights of the classes in the loss, counted where they should be balanced."""
    if config.cls_weights != "balanced":
        return config.cls_weights
    weights, note = balanced_weights(
        train_samples, config.num_classes, config.ignore_labels, config.num_workers
    )
    print(note)
    return weights


def find_changes_since(state, described, config):
    """What keeps a run from going on from `state`, for `utils.runs.folder.open_run`."""
    facts, _ = update_facts(state.facts, described)
    phases = plan_phases(config, facts["start"])
    starts = [phase.first_epoch for phase in phases]
    return find_changes(facts["run"], described, state.epoch, starts)


def get_start(state, described, config):
    """What the network starts from: as the run began, or `model_path` with "auto" resolved."""
    if state:
        facts, note = update_facts(state.facts, described)
        start = facts["start"]
    else:
        with quiet():
            from nets.weights.start import choose_start

        start, note = choose_start(
            config.model_path, config.backbone, config.width, config.imagenet_url
        )
    if note:
        print(note)
    return start


def plan_phases(config, start):
    """The phases that have any epochs: encoder frozen, then everything.

    Args:
        config: TrainConfig.
        start: str, what `get_start` returned.
    """
    thaw = config.init_epoch
    if config.freeze_train and start:
        thaw = max(thaw, min(config.freeze_epoch, config.unfreeze_epoch))
    phases = (
        Phase("encoder frozen", config.init_epoch, thaw, config.freeze_batch_size, False),
        Phase("all layers", thaw, config.unfreeze_epoch, config.unfreeze_batch_size, True),
    )
    return [phase for phase in phases if phase.first_epoch < phase.last_epoch]


# What needs Keras is imported inside functions: it takes seconds to load, and --help and the
# check of the data do without.


def build(config, start, state, devices):
    """The network: new, with the weights of `start`, or as a run left it.

    Returns:
        (keras.Model, nets.weights.description.Description).
    """
    if config.recompute:  # who asks for that needs memory more than time
        return_free_memory()
    with quiet():
        from training import agree_on_precision, build_network, synchronize_normalization

    with devices.scope():
        model, description = build_network(
            start,
            config.num_classes,
            config.name_classes,
            backbone=config.backbone,
            width=config.width,
            in_channels=config.in_channels,
            decoder_norm=config.decoder_norm,
            imagenet_url=config.imagenet_url,
            input_shape=config.prediction_shape,
            ignore_labels=config.ignore_labels,
            precision=agree_on_precision(config.precision, devices),
            seed=config.seed,
            state=state,
        )
    synchronize_normalization(model, devices)
    return model, description


def to_json(config):
    """The settings as JSON gives them back: tuples are lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def write_settings(config, folder):
    """Writes the settings beside the run."""
    text = json.dumps(to_json(config), indent=2, ensure_ascii=False)
    with whole_file(folder / "settings.json") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def make_hooks(config, model, description, val_samples, run, facts, devices):
    """The callbacks of the whole run by name, in their order; see utils/runs/callbacks.py."""
    from nets.weights.storage import save_weights
    from training import collect_arrays, make_predictor
    from utils.evaluation.evaluate import evaluate
    from utils.evaluation.metrics import sum_counts
    from utils.prediction.inference import predict_mask
    from utils.prediction.stream import predict_masks
    from utils.runs.callbacks import AveragedWeights, Checkpoints, MeanIoU, RunLog, SaveState
    from utils.runs.guards import Patience
    from utils.runs.progress import Progress
    from utils.runs.tensorboard import Board

    predict, update = make_predictor(model, devices)

    def score_now():
        update()
        samples = val_samples[devices.process :: devices.processes]
        paths = [sample.image_path for sample in samples]
        masks = predict_masks(
            predict,
            paths,
            config.prediction_shape,
            config.unfreeze_batch_size,
            config.in_channels,
        )
        counts = evaluate(samples, masks, config.num_classes, config.ignore_labels, progress=False)
        return sum_counts(devices.gather(counts))

    hooks = {
        "scoring": MeanIoU(
            score_now, config.eval_period if config.eval_flag else 0, config.unfreeze_epoch
        ),
        "patience": Patience(config.early_stopping_patience),
        "checkpoints": Checkpoints(
            lambda path: save_weights(model, path, description),
            run.folder,
            config.save_period,
            run.public,
        ),
        "log": RunLog(run.folder),
    }
    hooks["board"] = Board(
        run.folder,
        hooks["scoring"],
        description.name_classes,
        samples=val_samples[:_SHOWN],
        predict=lambda image: predict_mask(predict, image, config.prediction_shape),
        ignore_labels=config.ignore_labels,
        in_channels=config.in_channels,
    )
    if config.ema_momentum:
        hooks["average"] = AveragedWeights()
    lasting = {name: hooks[name] for name in ("patience", "checkpoints", "log")}
    if run.state:
        for name, hook in lasting.items():
            hook.state = run.state.facts["callbacks"][name]
    facts = facts | {
        "policy": model.dtype_policy.name,
        "description": description.to_json(),
    }
    hooks["state"] = SaveState(run.folder, config.unfreeze_epoch, facts, collect_arrays, lasting)
    hooks["progress"] = Progress(config.unfreeze_epoch)
    return hooks


def run_phase(config, phase, model, train_samples, val_samples, cls_weights, hooks, run, devices):
    """Trains the network from one epoch to another, or what an interrupted run left of it."""
    from nets.unet import set_encoder_trainable
    from training import (
        compile_trainer,
        fit,
        make_loss,
        make_optimizer,
        restore_optimizer,
        uniform_loss,
    )
    from utils.runs.guards import StartLoss

    names = set_encoder_trainable(model, phase.train_encoder, config.backbone)
    first_epoch = max(phase.first_epoch, run.state.epoch if run.state else 0)
    frozen = "nothing" if phase.train_encoder else f"{names[0]} to {names[-1]}"
    print(
        f"\nEpochs {first_epoch + 1} to {phase.last_epoch}: {phase.title} "
        f"(frozen: {frozen}), batch size {phase.batch_size}."
    )
    rates = config.init_lr, config.last_lr
    if config.scale_lr_by_batch:
        batch = phase.batch_size * config.accumulate_steps
        rates = [scaled_rate(rate, batch) for rate in rates]
        print(f"Learning rates for {batch} images a step: {rates[0]:.3g} to {rates[1]:.3g}.")
    loss = make_loss(
        config.dice_loss, config.focal_loss, cls_weights, config.dice_present_only, devices.total
    )
    with devices.scope():
        trainer = compile_trainer(
            model,
            make_optimizer(
                config.optimizer_type,
                rates[0],
                config.momentum,
                config.weight_decay,
                config.accumulate_steps,
                config.ema_momentum,
            ),
            loss,
            config.recompute,
        )
        if first_epoch > phase.first_epoch:
            restore_optimizer(trainer, run.state.arrays)
    train_set, val_set = make_datasets(config, phase, train_samples, val_samples, devices)
    hooks["progress"].set_phase(train_set, val_set)
    callbacks = [hook for name, hook in hooks.items() if devices.chief or name not in _OF_CHIEF]
    print(
        describe_memory(
            model,
            phase.batch_size,
            config.input_shape,
            config.recompute,
            config.accumulate_steps,
            slots=1
            + (config.optimizer_type == "adam")
            + (config.accumulate_steps > 1)
            + (config.ema_momentum > 0),
            free=available_memory(),
        )
    )
    try:
        if first_epoch == config.init_epoch and devices.processes == 1:
            train_set.set_epoch(first_epoch)
            callbacks.append(StartLoss(uniform_loss(loss, train_set, config.num_classes)))
        fit(
            trainer,
            train_set,
            val_set,
            first_epoch,
            phase.last_epoch,
            lambda epoch: learning_rate(epoch, config.unfreeze_epoch, *rates, config.lr_decay_type),
            callbacks,
        )
    except Exception as error:
        advice = explain_out_of_memory(
            error, phase.batch_size, config.accumulate_steps, config.recompute
        )
        if advice is None:
            raise
        raise RunError(advice) from error


def make_datasets(config, phase, train_samples, val_samples, devices):
    """What a phase trains on and validates with."""
    from utils.data.dataset import UnetDataset

    options = {
        "batch_size": phase.batch_size,
        "num_classes": config.num_classes,
        "ignore_labels": config.ignore_labels,
        "in_channels": config.in_channels,
        "num_workers": config.num_workers,
        "devices": devices,
    }
    train_set = UnetDataset(
        train_samples,
        config.input_shape,
        augment=config.make_augment(),
        seed=config.seed,
        cache_bytes=int(config.cache_gb * 2**30),
        **options,
    )
    return train_set, UnetDataset(val_samples, config.prediction_shape, **options)


def _check_choice(config, name, choices):
    if getattr(config, name) not in choices:
        raise UserError(
            f"{name} must be one of {', '.join(choices)}; got {getattr(config, name)!r}."
        )


def _check_at_least(config, least, *names):
    for name in names:
        if getattr(config, name) < least:
            raise UserError(f"{name} must be at least {least}; got {getattr(config, name)}.")


if __name__ == "__main__":
    run_script(main)
