"""Optimizer and loss, and the compiled trainer that has both."""

import keras

from errors import UserError
from nets import losses
from nets.epoch_loss import EpochLoss
from nets.precision import dtype_policy
from nets.remat import rematerialized
from nets.weights.description import SOFTMAX
from utils.labels import VOID


def make_optimizer(settings, learning_rate=None):
    """Adam or SGD with Nesterov momentum, at the rate that is asked for.

    Adam with weight decay is AdamW. Weight decay spares biases and normalization.

    Args:
        settings: `training.settings.OptimizerSettings`.
        learning_rate: float; None: the settings' `init_lr`.
    """
    steps = settings.accumulate_steps
    options = {
        "learning_rate": settings.init_lr if learning_rate is None else learning_rate,
        "weight_decay": settings.weight_decay or None,
    }
    if settings.ema_momentum:
        # Keras averages at each step, also at those that change no weights.
        options |= {"use_ema": True, "ema_momentum": settings.ema_momentum ** (1 / steps)}
    if steps > 1:
        options["gradient_accumulation_steps"] = steps
    if settings.optimizer_type == "adam":
        optimizer = keras.optimizers.Adam(beta_1=settings.momentum, **options)
    else:
        optimizer = keras.optimizers.SGD(momentum=settings.momentum, nesterov=True, **options)
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    # At the end of fit Keras would put the average in the place of the weights, but a phase
    # continues from the weights, as a run that was interrupted there does.
    optimizer.finalize_variable_values = lambda _: None
    return optimizer


def make_loss(settings, total=None):
    """Cross-entropy or focal loss, with or without Dice loss, of logits; as in `nets.losses`.

    Args:
        settings: `training.settings.LossSettings`, with its weights as numbers.
        total: what sums over a batch, `utils.distributed.devices.Devices.total`; None: `ops.sum`.
    """
    factory = {
        (True, True): losses.dice_loss_with_Focal_Loss,
        (True, False): losses.dice_loss_with_CE,
        (False, True): losses.Focal_Loss,
        (False, False): losses.CE,
    }[settings.dice_loss, settings.focal_loss]
    options = {"dice_present_only": settings.dice_present_only} if settings.dice_loss else {}
    loss = factory(settings.cls_weights or None, total=total, from_logits=True, **options)
    if total is None:
        return loss
    # TensorFlow's devices add their gradients up, and Keras divides the loss by their number
    # unless it is a scalar.
    return lambda y_true, y_pred, border=None: keras.ops.reshape(loss(y_true, y_pred, border), (1,))


class BorderLoss(keras.losses.Loss):
    """A loss that gets a batch's third part, Keras' sample weights, as the pixels' border weights.

    Keras would multiply the loss of the whole batch by them.

    Args:
        function: as `make_loss` gives it.
    """

    def __init__(self, function):
        super().__init__(name="loss")
        self.function = function

    def __call__(self, y_true, y_pred, sample_weight=None):
        targets = y_true if sample_weight is None else (y_true, sample_weight)
        return super().__call__(targets, y_pred)

    def call(self, y_true, y_pred):
        targets = y_true if isinstance(y_true, tuple) else (y_true,)
        return self.function(targets[0], y_pred, *targets[1:])


def make_epoch_loss(settings, num_classes):
    """The loss of `make_loss` over all batches of an epoch as one, a metric.

    Args:
        settings: as for `make_loss`.
        num_classes: int.
    """
    factory = losses.Focal_Loss if settings.focal_loss else losses.CE
    pixel_loss = factory(settings.cls_weights or None, from_logits=True)
    return EpochLoss(pixel_loss, num_classes, settings.dice_loss, settings.dice_present_only)


def compile_trainer(model, optimizer, loss, recompute=False, metrics=()):
    """Compiles a trainer that shares the network's layers and ends in logits, before the softmax.

    From logits no pixel loses its gradient, see `nets.losses`. The network itself stays without
    an optimizer, so that its weights are saved alone; and each phase compiles anew, for its own
    set of trainable variables.

    Args:
        model: keras.Model.
        optimizer: as for `keras.Model.compile`.
        loss: as `make_loss` gives it.
        recompute: bool, whether activations are computed again instead of kept.
        metrics: more Keras metrics of the logits, such as `make_epoch_loss` gives; they get the
            batches' sample weights.
    """
    # Keras scales the loss under mixed_float16 only if the model itself has that policy.
    with dtype_policy(model.dtype_policy):
        trainer = keras.Model(model.inputs, model.get_layer(SOFTMAX).input)
        trainer = rematerialized(trainer) if recompute else trainer
    num_classes = model.output_shape[-1]
    metric = keras.metrics.MeanIoU(
        num_classes, name="batch_miou", ignore_class=VOID, sparse_y_pred=False
    )
    trainer.compile(
        optimizer=optimizer,
        loss=BorderLoss(loss),
        metrics=[metric],
        weighted_metrics=[*metrics],
    )
    # Made within the first step, its variables would have that step traced twice.
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def collect_arrays(trainer):
    """What a run needs to resume: the arrays of `utils.runs.state.State`."""
    slots = [keras.ops.convert_to_numpy(variable) for variable in trainer.optimizer.variables]
    return {"weights": trainer.get_weights(), "optimizer": slots}


def restore(give, arrays, name):
    """Gives a part of a run's state to what it belongs to; returns what that returns.

    Args:
        give: callable of a list of arrays, or of what else the part is.
        arrays: dict, `utils.runs.state.State.arrays`, or its `facts`.
        name: str, which part.

    Raises:
        UserError: if it is not there, or of another network.
    """
    try:
        return give(arrays[name])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            f"The run can't resume: the part {name!r} of its state is not of this network "
            f"({' '.join(str(error).split())[:200]}). Start anew with --resume never, from its "
            "last_epoch_weights.weights.h5 with --model_path; its files stay."
        ) from error


def restore_optimizer(trainer, arrays):
    """Gives a compiled trainer's optimizer the values that `collect_arrays` took."""

    def give(values):
        for variable, value in zip(trainer.optimizer.variables, values, strict=True):
            variable.assign(value)

    restore(give, arrays, "optimizer")


def uniform_loss(loss, dataset):
    """The loss of equal probabilities for each class, for a dataset's first batch.

    Args:
        loss: as `make_loss` gives it.
        dataset: `utils.data.dataset.UnetDataset`.
    """
    _, y_true, *border = dataset[0]
    logits = keras.ops.zeros((*y_true.shape, dataset.num_classes))
    return float(keras.ops.convert_to_numpy(keras.ops.sum(loss(y_true, logits, *border))))
