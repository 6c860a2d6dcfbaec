"""Any encoder of `keras.applications`, with the layers of this network.

The layers are Keras' own, made anew: with names that start with `encoder` and how often the image
is halved there, for images of any size and number of channels in [-1, 1], and at any `width`.
"""

import keras
from keras import layers

from nets.encoders.keras_graph import IMAGE, find_features, open_application, trace
from nets.encoders.widths import scaled

_COUNTS = ("filters", "units", "projection_dim")  # of channels, in layers' configurations
_USUAL = "GlorotUniform"  # Keras' default; another initializer is an encoder's own choice


def KerasEncoder(img_input, width=64, kernel_initializer="glorot_uniform", *, application):
    """Adds an encoder of Keras to an image tensor.

    Args:
        img_input: Keras tensor (B, H, W, channels); H and W multiples of the stride or None.
        width: int. 64 is Keras' encoder; at 32 each layer has half of its channels.
        kernel_initializer: str, of the convolutions that have Keras' default.
        application: str, its name in `keras.applications`.

    Returns:
        tuple of Keras tensors, each half the size of the one before; the first is the image's size,
        or a half or fourth of it.
    """
    steps = trace(open_application(application))
    results = {IMAGE: img_input}
    for index, step in enumerate(steps):
        layer = _renew(step, width, kernel_initializer)
        given = [results[source] for source in step.inputs]
        results[index] = layer(given if len(given) > 1 else given[0])
    return tuple(results[index] for index in find_features(steps))


def _renew(step, width, initializer):
    """A new layer of the same kind, with its share of the channels."""
    config = step.layer.get_config()
    config["name"] = step.name
    if config.get("groups", 1) > 1:  # as many as channels
        config["groups"] = scaled(config["groups"], width)
    for name in _COUNTS:
        if name in config:
            config[name] = scaled(config[name], width)
    if isinstance(step.layer, layers.Reshape):  # (1, 1, channels)
        *sides, channels = config["target_shape"]
        config["target_shape"] = (*sides, scaled(channels, width))
    if config.get("kernel_initializer", {}).get("class_name") == _USUAL:
        config["kernel_initializer"] = keras.initializers.get(initializer)
    return type(step.layer).from_config(config)
