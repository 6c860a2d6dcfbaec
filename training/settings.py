"""The settings of a training by part. Each part checks itself; none needs Keras.

Their names are those of the settings in train.py, where all are described.
"""

from dataclasses import MISSING, dataclass, fields, replace

from errors import UserError, check_at_least, check_choice
from nets.checks import (
    check_decoder_norm,
    check_decoder_width,
    check_in_channels,
    check_input_shape,
    check_num_classes,
    check_precision,
    check_window,
    fits_stride,
)
from training.phases import PhaseSettings
from utils.data.augment import Augment
from utils.data.borders import BorderWeights
from utils.labels import check_ignore_labels, check_ignored_classes, class_names
from utils.runs.lr_schedule import SCHEDULES, learning_rate, rate_of_share, scaled_rate


@dataclass(frozen=True)
class NetworkSettings:
    """Which network is built, for images of `input_shape`, and `val_input_shape` later on."""

    num_classes: int
    name_classes: tuple[str, ...] = ()
    backbone: str = "vgg"
    in_channels: int = 3
    width: int = 64
    decoder_width: int = 0
    decoder_norm: str = "none"
    input_shape: tuple[int, int] = (512, 512)
    val_input_shape: tuple[int, int] = (512, 512)
    val_window: tuple[int, int] | None = None
    ignore_labels: tuple[int, ...] = (255,)
    value_range: tuple[float, ...] | str = ()
    imagenet_url: str = ""
    precision: str = "auto"
    recompute: bool = False
    new_head: bool = False
    seed: int = 11

    def __post_init__(self):
        check_at_least(self, 1, "width")
        check_num_classes(self.num_classes)
        check_in_channels(self.in_channels)
        check_input_shape(self.val_input_shape, self.backbone)
        if self.val_window:
            check_window(self.val_window, self.val_input_shape, self.backbone)
        check_precision(self.precision)
        class_names(self.num_classes, self.name_classes)
        check_ignore_labels(self.ignore_labels)
        check_ignored_classes(self.ignore_labels, self.num_classes)
        check_decoder_norm(self.decoder_norm)
        check_decoder_width(self.decoder_width)
        if self.recompute and self.decoder_norm == "batch":
            raise UserError(
                "recompute saves nothing with decoder_norm batch, whose statistics must be counted "
                "once. Set decoder_norm to group, or recompute to false."
            )

    @property
    def any_size(self):
        """bool, whether the network must pad some of the images that it is given."""
        sizes = (self.input_shape, self.val_window or self.val_input_shape)
        return not all(fits_stride(size, self.backbone) for size in sizes)

    def resized(self, width, size):
        """The same network in another width, for images of (height, width), to be timed."""
        shapes = {"input_shape": size, "val_input_shape": size, "val_window": None}
        return replace(self, width=width, recompute=False, **shapes)


@dataclass(frozen=True)
class DataSettings:
    """How a `utils.data.dataset.UnetDataset` makes batches for the network."""

    augment: Augment
    input_shape: tuple[int, int] = (512, 512)
    crops_per_image: int = 1
    num_workers: int = 0
    cache_gb: float = 0.0
    seed: int = 11

    def __post_init__(self):
        check_at_least(self, 0, "num_workers", "cache_gb", "seed")
        check_at_least(self, 1, "crops_per_image")


@dataclass(frozen=True)
class OptimizerSettings:
    """The optimizer and its learning rate."""

    optimizer_type: str = "adam"
    init_lr: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    accumulate_steps: int = 1
    ema_momentum: float = 0.0
    min_lr: float | None = None
    lr_decay_type: str = "cos"
    scale_lr_by_batch: bool = False

    def __post_init__(self):
        check_choice("optimizer_type", self.optimizer_type, ("adam", "sgd"))
        check_choice("lr_decay_type", self.lr_decay_type, SCHEDULES)
        check_at_least(self, 0, "momentum", "weight_decay", "ema_momentum")
        check_at_least(self, 1, "accumulate_steps")
        if self.ema_momentum >= 1:
            raise UserError(
                f"ema_momentum must be below 1; got {self.ema_momentum}. 0.99 averages over about "
                "the last 100 steps; 0 switches it off."
            )
        if not 0 < self.last_lr <= self.init_lr:
            raise UserError(
                f"Learning rates must be 0 < min_lr <= init_lr; got min_lr={self.last_lr}, "
                f"init_lr={self.init_lr}."
            )

    @property
    def last_lr(self):
        """The learning rate of the last epochs."""
        return self.init_lr / 100 if self.min_lr is None else self.min_lr

    @property
    def slots(self):
        """How many numbers the optimizer keeps for each weight."""
        kept = (self.optimizer_type == "adam", self.accumulate_steps > 1, self.ema_momentum > 0)
        return 1 + sum(kept)

    def rates(self, batch_size):
        """The highest and the last learning rate for batches of so many images."""
        rates = self.init_lr, self.last_lr
        if not self.scale_lr_by_batch:
            return rates
        return tuple(scaled_rate(rate, batch_size * self.accumulate_steps) for rate in rates)

    def rate_of_epoch(self, epoch, total_epochs, batch_size):
        """The learning rate of an epoch, counted from 0."""
        return learning_rate(epoch, total_epochs, *self.rates(batch_size), self.lr_decay_type)

    def rate_of_share(self, share, batch_size):
        """The learning rate after a share of the training's time, 0 to 1."""
        return rate_of_share(share, *self.rates(batch_size), self.lr_decay_type)


@dataclass(frozen=True)
class LossSettings:
    """The loss; `cls_weights` holds one number per class, or none, or is "balanced"."""

    dice_loss: bool = True
    focal_loss: bool = False
    cls_weights: tuple[float, ...] | str = ()
    dice_present_only: bool = False
    border_weight: float = 0.0
    border_sigma: float = 5.0

    def __post_init__(self):
        BorderWeights(self.border_weight, self.border_sigma)

    @property
    def borders(self):
        """`utils.data.borders.BorderWeights`, or None where they are off."""
        return BorderWeights(self.border_weight, self.border_sigma) if self.border_weight else None

    def check(self, num_classes, ignore_labels=()):
        """Raises UserError unless there is one weight per class, and background to weigh."""
        if self.border_weight and 0 in ignore_labels:
            raise UserError(
                f"border_weight {self.border_weight:g} weighs the background between objects, but "
                "ignore_labels holds 0, by which the background is void. Set border_weight to 0, "
                "or take 0 out of ignore_labels."
            )
        if isinstance(self.cls_weights, str):
            check_choice("cls_weights", self.cls_weights, ("balanced",))
        elif self.cls_weights and len(self.cls_weights) != num_classes:
            raise UserError(
                f"cls_weights holds {len(self.cls_weights)} numbers, but num_classes is "
                f"{num_classes}. Give one weight per class, the background first."
            )
        elif self.cls_weights and (min(self.cls_weights) < 0 or not any(self.cls_weights)):
            raise UserError(
                f"cls_weights must be at least 0, and one of them above; got {self.cls_weights}. "
                "A class of weight 0 is not learnt."
            )


@dataclass(frozen=True)
class ReportSettings:
    """What is scored and saved meanwhile."""

    save_period: int = 5
    eval_flag: bool = True
    eval_period: int = 5
    early_stopping_patience: int = 0
    early_stopping_min_delta: float = 0.0

    def __post_init__(self):
        check_at_least(self, 1, "eval_period")
        check_at_least(
            self, 0, "save_period", "early_stopping_patience", "early_stopping_min_delta"
        )


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of all parts."""

    network: NetworkSettings
    data: DataSettings
    phases: PhaseSettings
    optimizer: OptimizerSettings
    loss: LossSettings
    report: ReportSettings


def values_as_shipped(*parts):
    """{name: default} of the fields that these parts, dataclasses, give one."""
    return {
        field.name: field.default
        for part in parts
        for field in fields(part)
        if field.default is not MISSING
    }


# Of train.py, whose own lines users edit.
SHIPPED = values_as_shipped(
    NetworkSettings, DataSettings, Augment, PhaseSettings, OptimizerSettings, LossSettings,
    ReportSettings,
) | {
    "plan": "off", "time_limit": 0.0, "VOCdevkit_path": "VOCdevkit", "num_classes": 21,
    "train_list": "train", "val_list": "val", "folds": 0, "model_path": "auto",
    "val_input_shape": None, "save_dir": "logs", "resume": "auto", "devices": 1,
}  # fmt: skip


def set_by_user(config, given=()):
    """The settings that a plan leaves alone: those given, or different from what is shipped.

    Args:
        config: the settings of train.py.
        given: names of settings that were typed, whatever their value.

    Returns:
        dict from names to values.
    """
    usual = values_as_shipped(
        NetworkSettings, DataSettings, PhaseSettings, OptimizerSettings, LossSettings, Augment,
    ) | {"model_path": "auto", "val_input_shape": None}  # fmt: skip
    values = {name: getattr(config, name) for name in usual if hasattr(config, name)}
    return {
        name: value
        for name, value in values.items()
        if name in given or name == "time_limit" or value != usual[name]
    }
