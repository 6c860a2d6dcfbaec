"""A network in training: start weights, optimizer, loss, and the run over some epochs."""

import keras

from errors import RunError, UserError
from nets import losses
from nets.precision import choose_precision, dtype_policy
from nets.remat import rematerialized
from nets.unet import build, small_head
from nets.weights.description import HEAD, INHERITED, Description
from nets.weights.storage import load_weights, open_weights
from utils.labels import VOID, class_names
from utils.runs.callbacks import EpochOfDataset
from utils.runs.guards import FiniteLoss


def build_network(
    model_path,
    num_classes,
    name_classes,
    *,
    backbone,
    width,
    input_shape,
    ignore_labels,
    precision,
    seed,
    in_channels=3,
    decoder_norm="none",
    imagenet_url="",
    state=None,
):
    """Builds the network to train and describes it; prints what it chose and loaded.

    Args:
        model_path: weights to start from, as for `nets.weights.storage.open_weights`; "": from
            scratch. Of a file with another class count, or of an encoder alone, what fits is
            kept.
        num_classes, name_classes, backbone, width, input_shape, ignore_labels, in_channels,
            decoder_norm: as in `Description`. Without names, those of the file are taken where
            the class counts are equal.
        precision: one of `nets.checks.PRECISIONS`.
        seed: int, of the start weights.
        imagenet_url: as for `nets.weights.storage.open_weights`.
        state: `utils.runs.state.State` of a run that goes on: its weights, its description and its
            number format are taken.

    Returns:
        (keras.Model for images of any size, Description).

    Raises:
        UserError: if the file can't be used, or has another backbone or width.
    """
    stored, facts = None, {}
    if state:
        description = Description.from_json(state.facts["description"])
    else:
        if model_path:
            stored = open_weights(model_path, backbone, imagenet_url)
            given = {"backbone": backbone, "width": width, "decoder_norm": decoder_norm}
            facts = _facts_to_keep(stored, in_channels, **given)
            known = stored.description
            if known and known.num_classes == num_classes:
                name_classes = name_classes or known.name_classes
        names = class_names(num_classes, name_classes)
        description = Description(
            num_classes,
            backbone,
            input_shape,
            names,
            width,
            ignore_labels,
            in_channels,
            decoder_norm,
            **facts,
        )
    # A run that goes on computes as it began, even if "auto" would choose otherwise today.
    policy, reason = choose_precision(state.facts["policy"] if state else precision)
    print(reason)
    keras.utils.set_random_seed(seed)
    # The article's own initializer fades through thirteen layers without weights.
    options = (
        {"head_initializer": small_head()} if model_path else {"encoder_initializer": "he_normal"}
    )
    with dtype_policy(policy):  # for any size: training and validation may use different ones
        model = build(description, **options)
    if state:
        model.set_weights(state.arrays["weights"])
    elif stored:
        # Of its own file for the same classes and channels, all must fit.
        known = stored.description
        same = known and (known.num_classes, known.in_channels) == (num_classes, in_channels)
        print(load_weights(model, stored, allow_mismatch=not same))
    return model, description


def agree_on_precision(precision, devices):
    """What "auto" is on the chief, so that all machines compute alike."""
    if devices.processes == 1:
        return precision
    policy, reason = devices.from_chief(lambda: choose_precision(precision))
    print(reason)
    return policy


def _facts_to_keep(stored, in_channels, **given):
    """How the network must be built for these weights; refuses what contradicts `given`."""
    inferred = stored.infer()
    if inferred["in_channels"] != 3:  # only those of three channels can be adapted to others
        given["in_channels"] = in_channels
    for name, value in given.items():
        if value != inferred.get(name, value):  # an encoder alone has no decoder
            raise UserError(
                f"{name} is {value!r}, but {stored.path} holds {name} {inferred[name]!r}. "
                f"Set {name} to the file's, or leave model_path empty."
            )
    return {name: inferred[name] for name in INHERITED if name in inferred}


def synchronize_normalization(model, devices):
    """Has batch normalization count the whole batch, as one device does.

    On TensorFlow each device sees its own images only, unless its layers are told; on JAX all
    devices compute one batch anyway.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = devices.count > 1 and keras.config.backend() == "tensorflow"


def make_optimizer(kind, learning_rate, momentum, weight_decay, accumulate_steps=1, ema_momentum=0):
    """Adam or SGD with Nesterov momentum, at the rate that is asked for.

    Args:
        kind: "adam" or "sgd". Adam with weight decay is AdamW.
        learning_rate: float.
        momentum: float, beta_1 of Adam.
        weight_decay: float, decoupled from the gradient; biases and normalization are spared.
        accumulate_steps: int, steps whose gradients are averaged before weights change.
        ema_momentum: float, 0..1. Above 0, the optimizer also keeps the weights' moving
            average: this share of it stays at each change of the weights.
    """
    options = {"learning_rate": learning_rate, "weight_decay": weight_decay or None}
    if ema_momentum:
        # Keras averages at each step, also at those that change no weights.
        options |= {"use_ema": True, "ema_momentum": ema_momentum ** (1 / accumulate_steps)}
    if accumulate_steps > 1:
        options["gradient_accumulation_steps"] = accumulate_steps
    if kind == "adam":
        optimizer = keras.optimizers.Adam(beta_1=momentum, **options)
    else:
        optimizer = keras.optimizers.SGD(momentum=momentum, nesterov=True, **options)
    if weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    # At the end of fit Keras would put the average in the place of the weights, but a phase
    # goes on from the weights, as a run that was interrupted there does.
    optimizer.finalize_variable_values = lambda _: None
    return optimizer


def make_loss(dice, focal, cls_weights=(), dice_present_only=False, total=None):
    """Cross-entropy or focal loss, with or without Dice loss, of logits.

    Args:
        dice, focal: bool.
        cls_weights: a weight a class; empty: all 1.
        dice_present_only: bool, whether Dice averages only the classes that a batch holds.
        total: what sums over a batch, `utils.distributed.devices.Devices.total`; None: `ops.sum`.
    """
    factory = {
        (True, True): losses.dice_loss_with_Focal_Loss,
        (True, False): losses.dice_loss_with_CE,
        (False, True): losses.Focal_Loss,
        (False, False): losses.CE,
    }[dice, focal]
    options = {"dice_present_only": dice_present_only} if dice else {}
    loss = factory(cls_weights or None, total=total, from_logits=True, **options)
    if total is None:
        return loss
    # TensorFlow's devices add their gradients up, and Keras divides the loss by their number
    # unless it is a scalar.
    return lambda y_true, y_pred: keras.ops.reshape(loss(y_true, y_pred), (1,))


def compile_trainer(model, optimizer, loss, recompute=False):
    """Compiles a trainer that shares the network's layers and ends in logits, before the softmax.

    From logits no pixel loses its gradient, see `nets.losses`. The network itself stays without
    an optimizer, so that its weights are saved alone; and each phase compiles anew, for its own
    set of trainable variables.

    Args:
        model: keras.Model.
        optimizer, loss: as for `keras.Model.compile`.
        recompute: bool, whether activations are computed again instead of kept.
    """
    # Keras scales the loss under mixed_float16 only if the model itself has that policy.
    with dtype_policy(model.dtype_policy):
        trainer = keras.Model(model.inputs, model.get_layer(HEAD).output)
        trainer = rematerialized(trainer) if recompute else trainer
    num_classes = model.output_shape[-1]
    metric = keras.metrics.MeanIoU(
        num_classes, name="batch_miou", ignore_class=VOID, sparse_y_pred=False
    )
    trainer.compile(optimizer=optimizer, loss=loss, metrics=[metric])
    # Made within the first step, its variables would have that step traced twice.
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def make_predictor(model, devices):
    """The network in training as something that predicts on one device, amid a training too.

    Several devices predict with a copy of it: several processes can't predict together, and
    under MirroredStrategy each device would predict the whole batch.

    Args:
        model: keras.Model.
        devices: `utils.distributed.devices.Devices`.

    Returns:
        (predict, update): a callable as `model.predict_on_batch`, and one without arguments
        after which it predicts with the weights of now.
    """
    if devices.count == 1:
        return model.predict_on_batch, lambda: None
    with devices.alone():
        copy = keras.models.clone_model(model)

    def predict(batch):
        with devices.alone():
            return copy.predict_on_batch(batch)

    def update():
        with devices.alone():
            copy.set_weights(model.get_weights())

    return predict, update


def collect_arrays(trainer):
    """What a run needs to go on: the arrays of `utils.runs.state.State`."""
    slots = [keras.ops.convert_to_numpy(variable) for variable in trainer.optimizer.variables]
    return {"weights": trainer.get_weights(), "optimizer": slots}


def restore_optimizer(trainer, arrays):
    """Gives a compiled trainer's optimizer the values that `collect_arrays` took."""
    for variable, value in zip(trainer.optimizer.variables, arrays["optimizer"], strict=True):
        variable.assign(value)


def uniform_loss(loss, dataset, num_classes):
    """The loss of equal probabilities for each class, for a dataset's first batch.

    Args:
        loss: as `make_loss` gives it.
        dataset: `utils.data.dataset.UnetDataset`.
        num_classes: int.
    """
    _, y_true = dataset[0]
    logits = keras.ops.zeros((*y_true.shape[:3], num_classes))
    return float(keras.ops.convert_to_numpy(keras.ops.sum(loss(y_true, logits))))


def fit(trainer, train_set, val_set, first_epoch, last_epoch, rate_of_epoch, callbacks):
    """Runs the epochs first_epoch..last_epoch - 1, counted from 0.

    Args:
        trainer: what `compile_trainer` gives.
        train_set, val_set: `utils.data.dataset.UnetDataset`.
        first_epoch, last_epoch: int.
        rate_of_epoch: callable from an epoch to its learning rate.
        callbacks: list of Keras callbacks.

    Raises:
        UserError: for an image or mask that can't be used.
        RunError: for a loss that is not a number.
    """

    def names_of_batch(index):
        return [sample.image_path for sample in train_set.batch_samples(index)]

    try:
        trainer.fit(
            train_set,
            validation_data=val_set,
            initial_epoch=first_epoch,
            epochs=last_epoch,
            shuffle=False,  # the dataset shuffles by (seed, epoch)
            callbacks=[
                EpochOfDataset(train_set),
                FiniteLoss(names_of_batch),
                keras.callbacks.LearningRateScheduler(rate_of_epoch),
                *callbacks,
            ],
            verbose=0,  # utils.runs.progress shows more
        )
    except RunError:
        raise
    except Exception:
        # Backends wrap what a dataset raises; the user's mistake is what it kept.
        error = train_set.error or val_set.error
        if error:
            raise error from None
        raise
