"""The network to train: built, started from weights, and used for prediction meanwhile."""

from dataclasses import replace

import keras

from nets.precision import choose_precision, dtype_policy
from nets.unet import build, small_head
from nets.weights.description import HEAD, INHERITED, Description
from nets.weights.storage import load_weights, open_weights
from training.optimization import restore
from utils.distributed.devices import Devices
from utils.labels import class_names, name_changes
from utils.messages import say


def build_network(settings, start, state=None, devices=None, fused=True):
    """Builds the network to train and describes it; prints what it chose and loaded.

    Args:
        settings: `training.settings.NetworkSettings`. Without names of the classes, those of the
            file are taken where the class counts are equal.
        start: weights to start from, as for `nets.weights.storage.open_weights`; "": from
            scratch. Of a file with another class count, or of an encoder alone, what fits is
            kept.
        state: `utils.runs.state.State` of a run that resumes: its weights, its description and
            its number format are taken.
        devices: `utils.distributed.devices.Devices`; None: a single one.
        fused: bool, the decoder's form, as for `nets.unet.Unet`.

    Returns:
        (keras.Model for images of any size, Description).

    Raises:
        UserError: if the file can't be used, or has another backbone or width.
    """
    devices = devices or Devices()
    stored = None
    if state:
        description = restore(Description.from_json, state.facts, "description")
    else:
        if start:
            stored = open_weights(start, settings.backbone, settings.imagenet_url)
        description = _describe(settings, stored)
    # A run that resumes computes as it began, even if "auto" would choose otherwise today.
    wanted = state.facts["policy"] if state else agree_on_precision(settings.precision, devices)
    policy, reason = choose_precision(wanted, said="as in the run" if state else "as set")
    say(reason)
    description = replace(description, precision=policy)
    keras.utils.set_random_seed(settings.seed)
    # The article's own initializer fades through thirteen layers without weights.
    options = {"head_initializer": small_head()} if start else {"encoder_initializer": "he_normal"}
    with devices.scope():
        with dtype_policy(policy):  # for any size: training and validation may use different ones
            model = build(description, any_size=settings.any_size, fused=fused, **options)
        if state:
            restore(model.set_weights, state.arrays, "weights")
        elif stored:
            _start_from(model, stored, settings)
    synchronize_normalization(model, devices)
    return model, description


def _start_from(model, stored, settings):
    """Loads what fits of a weights file, with a head of its own or not; prints what it did."""
    # Of its own file for the same classes and channels, all must fit.
    known, own = stored.description, (settings.num_classes, settings.in_channels)
    same = known and (known.num_classes, known.in_channels) == own
    if settings.new_head:
        layers = {name: arrays for name, arrays in stored.layers.items() if name != HEAD}
        say(f"The head starts anew (new_head); that of {stored.path} is left out.")
        stored, same = replace(stored, layers=layers), False
    elif same and settings.name_classes:
        _note_other_names(known.name_classes, settings.name_classes)
    say(load_weights(model, stored, allow_mismatch=not same))


def _note_other_names(stored, wanted):
    """Says which classes of a head that is taken over have other names now."""
    if changes := name_changes(stored, wanted):
        say(
            f"note: the head of the weights is taken over, but its classes have other names: "
            f"{changes}. If these are other classes, not other names, start it anew with "
            "--new_head."
        )


def _describe(settings, stored):
    """The Description of a new network, started from what is stored, if anything."""
    names, inherited = settings.name_classes, {}
    if stored:
        inherited = _facts_to_keep(stored, settings)
        known = stored.description
        if known and known.num_classes == settings.num_classes:
            names = names or known.name_classes
    return Description(
        num_classes=settings.num_classes,
        backbone=settings.backbone,
        input_shape=settings.val_input_shape,
        window=settings.val_window,
        name_classes=class_names(settings.num_classes, names),
        width=settings.width,
        decoder_width=settings.decoder_width,
        ignore_labels=settings.ignore_labels,
        in_channels=settings.in_channels,
        decoder_norm=settings.decoder_norm,
        value_range=settings.value_range or None,
        **inherited,
    )


def agree_on_precision(precision, devices):
    """What "auto" is on the chief, so that all machines compute alike."""
    if devices.processes == 1:
        return precision
    policy, reason = devices.from_chief(lambda: choose_precision(precision))
    say(reason)
    return policy


def _facts_to_keep(stored, settings):
    """How the network must be built for these weights; refuses settings that contradict them."""
    inferred = stored.infer()
    names = ["backbone", "width", "decoder_width", "decoder_norm"]
    if inferred["in_channels"] != 3:  # only those of three channels can be adapted to others
        names.append("in_channels")
    for name in names:
        value = getattr(settings, name)
        remedy = f"Set {name} to the file's, or leave model_path empty."
        # An encoder alone has no decoder.
        stored.refuse_other(name, value, inferred.get(name, value), remedy)
    return {name: inferred[name] for name in INHERITED if name in inferred}


def synchronize_normalization(model, devices):
    """Has batch normalization count the whole batch, as one device does.

    On TensorFlow each device sees its own images only, unless its layers are told; on JAX all
    devices compute one batch anyway.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = devices.count > 1 and keras.config.backend() == "tensorflow"


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
