"""Trains the network on a VOC folder: python train.py

Edit the settings below, at least num_classes, or give them on the command line:
python train.py --num_classes 3 --input_shape 256,256 --no-freeze_train
"""

import dataclasses
import json
import time
from pathlib import Path

from errors import UserError
from nets.checks import check_input_shape, check_num_classes, check_precision
from utils.augment import Augment
from utils.check import check_samples
from utils.config import format_settings, load_config, run_script, settings
from utils.faults import format_faults
from utils.lists import read_samples
from utils.lr_schedule import SCHEDULES, learning_rate
from utils.quiet import quiet
from utils.voc import check_ignore_labels, class_names


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
    num_workers: int = 0  # threads that read and augment pictures; 0: one a processor
    cache_gb: float = 0.0  # memory for decoded pictures, which are then read only once

    # Network
    backbone: str = "vgg"  # encoder
    model_path: str = ""  # weights to start from; empty: from scratch
    input_shape: tuple[int, int] = (512, 512)  # height, width of training pictures; multiples of 16
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
    freeze_batch_size: int = 2  # pictures a step while frozen
    unfreeze_epoch: int = 100  # last epoch
    unfreeze_batch_size: int = 2  # pictures a step after that

    # Optimizer
    optimizer_type: str = "adam"  # adam or sgd (then init_lr 1e-2, weight_decay 1e-4 are usual)
    init_lr: float = 1e-4  # highest learning rate
    min_lr: float | None = None  # last learning rate; None: init_lr / 100
    lr_decay_type: str = "cos"  # cos or step
    momentum: float = 0.9  # momentum of sgd, beta_1 of adam
    weight_decay: float = 0.0  # decoupled from the gradient; not on biases

    # Loss
    dice_loss: bool = True  # adds Dice loss, as the article does
    focal_loss: bool = False  # focal loss instead of cross-entropy
    cls_weights: tuple[float, ...] = ()  # one weight a class inside the loss; empty: all 1

    # Augmentation
    jitter: float = 0.3  # change of the aspect ratio, each way
    scale: tuple[float, float] = (0.25, 2.0)  # least, most size of a picture, in input_shape
    flip: float = 0.5  # probability of a left-right flip
    hue: float = 0.1  # change of the hue, each way
    saturation: float = 0.7  # change of the saturation, each way
    value: float = 0.3  # change of the brightness, each way

    # Files and scores
    save_dir: str = "logs"  # where weights, curves and logs go
    save_period: int = 5  # epochs between numbered weights files; 0: none
    eval_flag: bool = True  # whether to score mIoU on the validation pictures
    eval_period: int = 5  # epochs between two such scores
    seed: int = 11  # of the start weights, the order and the augmentation

    def check(self):
        """Raises UserError for values that make no sense together; needs no data."""
        counts = ("width", "freeze_batch_size", "unfreeze_batch_size", "eval_period")
        _check_at_least(self, 1, *counts)
        _check_at_least(self, 0, "num_workers", "save_period", "init_epoch", "seed")
        _check_at_least(self, 0, "momentum", "weight_decay", "cache_gb")
        check_num_classes(self.num_classes)
        check_input_shape(self.input_shape, self.backbone)
        check_input_shape(self.prediction_shape, self.backbone)
        check_precision(self.precision)
        class_names(self.num_classes, self.name_classes)
        check_ignore_labels(self.ignore_labels)
        _check_choice(self, "optimizer_type", ("adam", "sgd"))
        _check_choice(self, "lr_decay_type", SCHEDULES)
        if self.cls_weights and len(self.cls_weights) != self.num_classes:
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


def main(config=None):
    """Trains; `config` is a TrainConfig, or None to read the command line."""
    config = config or load_config(TrainConfig)
    print(format_settings(config))
    train_samples = read_samples(config.VOCdevkit_path, config.train_list)
    val_samples = read_samples(config.VOCdevkit_path, config.val_list)
    report = check_samples(
        train_samples,
        val_samples,
        config.num_classes,
        config.ignore_labels,
        workers=config.num_workers,
        cache=Path(config.save_dir) / ".data_check.json",
    )
    if report.faults:
        print(format_faults(report))
    print(f"{len(train_samples)} pictures to train, {len(val_samples)} to validate.")

    model, description = build(config)
    run_folder = make_run_folder(config)
    callbacks = make_callbacks(config, model, description, val_samples, run_folder)
    for phase in plan_phases(config):
        run_phase(config, phase, model, train_samples, val_samples, callbacks)
    print(
        f"Done. Weights are in {config.save_dir}, settings and curves in {run_folder}.\n"
        f"Next: python get_miou.py --model_path {config.save_dir}/best_epoch_weights.weights.h5\n"
        f"      python predict.py --model_path {config.save_dir}/best_epoch_weights.weights.h5"
    )


def plan_phases(config):
    """The phases that have any epochs: encoder frozen, then everything."""
    thaw = config.init_epoch
    if config.freeze_train and not config.model_path:
        print("freeze_train is skipped: a network from scratch has nothing to keep frozen.")
    elif config.freeze_train:
        thaw = max(thaw, min(config.freeze_epoch, config.unfreeze_epoch))
    phases = (
        Phase("encoder frozen", config.init_epoch, thaw, config.freeze_batch_size, False),
        Phase("all layers", thaw, config.unfreeze_epoch, config.unfreeze_batch_size, True),
    )
    return [phase for phase in phases if phase.first_epoch < phase.last_epoch]


# What needs Keras is imported inside functions: it takes seconds to load, and --help and the
# check of the data do without.


def build(config):
    """The network, with the weights of `model_path` if one is given.

    Returns:
        (keras.Model, nets.weights.Description).
    """
    with quiet():
        from training import build_network

    return build_network(
        config.model_path,
        config.num_classes,
        config.name_classes,
        backbone=config.backbone,
        width=config.width,
        input_shape=config.prediction_shape,
        ignore_labels=config.ignore_labels,
        precision=config.precision,
        seed=config.seed,
    )


def make_run_folder(config):
    """Makes a folder of its own for this run and writes the settings into it."""
    stamp = time.strftime("loss_%Y_%m_%d_%H_%M_%S")
    for attempt in range(1, 100):
        folder = Path(config.save_dir) / (stamp if attempt == 1 else f"{stamp}_{attempt}")
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            continue
    values = json.dumps(dataclasses.asdict(config), indent=2, ensure_ascii=False)
    (folder / "settings.json").write_text(values + "\n", encoding="utf-8")
    return folder


def make_callbacks(config, model, description, val_samples, run_folder):
    """The hooks of the whole run; see utils/callbacks.py for their order."""
    import keras

    from nets.weights import save_weights
    from utils.callbacks import Checkpoints, MeanIoU, RunLog
    from utils.evaluate import evaluate
    from utils.stream import predict_masks

    def evaluate_now():
        paths = [sample.image_path for sample in val_samples]
        masks = predict_masks(
            model.predict_on_batch, paths, config.prediction_shape, config.unfreeze_batch_size
        )
        return evaluate(val_samples, masks, config.num_classes, config.ignore_labels)

    return [
        MeanIoU(
            evaluate_now,
            config.eval_period if config.eval_flag else 0,
            config.unfreeze_epoch,
        ),
        keras.callbacks.LearningRateScheduler(
            lambda epoch: learning_rate(
                epoch, config.unfreeze_epoch, config.init_lr, config.last_lr, config.lr_decay_type
            )
        ),
        Checkpoints(
            lambda path: save_weights(model, path, description),
            config.save_dir,
            config.save_period,
        ),
        RunLog(run_folder),
        keras.callbacks.TensorBoard(run_folder, write_graph=False),
    ]


def run_phase(config, phase, model, train_samples, val_samples, callbacks):
    """Trains the network from one epoch to another."""
    from nets.unet import set_encoder_trainable
    from training import compile_twin, fit, make_loss, make_optimizer
    from utils.dataset import UnetDataset

    names = set_encoder_trainable(model, phase.train_encoder, config.backbone)
    frozen = "nothing" if phase.train_encoder else f"{names[0]} to {names[-1]}"
    print(
        f"\nEpochs {phase.first_epoch + 1} to {phase.last_epoch}: {phase.title} "
        f"(frozen: {frozen}), batch size {phase.batch_size}."
    )
    options = {
        "batch_size": phase.batch_size,
        "num_classes": config.num_classes,
        "ignore_labels": config.ignore_labels,
        "num_workers": config.num_workers,
    }
    train_set = UnetDataset(
        train_samples,
        config.input_shape,
        augment=config.make_augment(),
        seed=config.seed,
        cache_bytes=int(config.cache_gb * 2**30),
        **options,
    )
    val_set = UnetDataset(val_samples, config.prediction_shape, **options)
    trainer = compile_twin(
        model,
        make_optimizer(config.optimizer_type, config.init_lr, config.momentum, config.weight_decay),
        make_loss(config.dice_loss, config.focal_loss, config.cls_weights),
    )
    fit(trainer, train_set, val_set, phase.first_epoch, phase.last_epoch, callbacks)


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
