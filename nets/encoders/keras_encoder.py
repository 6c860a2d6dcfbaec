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
    kind = type(step.layer)
    return (ChannelScale if kind.__name__ == "LayerScale" else kind).from_config(config)


class ChannelScale(layers.Layer):
    """Multiplies each channel by a weight, as ConvNeXt does at the end of a block.

    Keras keeps its own beside its ConvNeXt, and it doesn't tell the shape of its result.

    Args:
        init_values: float, the weights at the start.
        projection_dim: int, channels.
    """

    def __init__(self, init_values, projection_dim, **options):
        super().__init__(**options)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, _):
        self.gamma = self.add_weight(
            name="gamma",
            shape=(self.projection_dim,),
            initializer=keras.initializers.Constant(self.init_values),
        )

    def call(self, inputs):
        return inputs * self.gamma

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {
            "init_values": self.init_values,
            "projection_dim": self.projection_dim,
        }
