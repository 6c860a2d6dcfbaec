"""Any encoder of `keras.applications`, with the layers of this network.

The layers are Keras' own, made anew: with names that start with `encoder` and how often the image
is halved there, for images of any size and number of channels in [-1, 1], and at any `width`.
"""

import keras
from keras import layers, ops

from nets.encoders.keras_graph import IMAGE, find_features, find_paddings, open_application, trace
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
    paddings = find_paddings(steps)
    results = {IMAGE: img_input}
    for index, step in enumerate(steps):
        given = [results[source] for source in step.inputs]
        if index in paddings:
            (results[index],) = given
            continue
        layer = _renew(step, width, kernel_initializer, pads=step.inputs[0] in paddings)
        results[index] = layer(given if len(given) > 1 else given[0])
    return tuple(results[index] for index in find_features(steps))


def _renew(step, width, initializer, pads):
    """A new layer of the same kind, with its share of the channels; it pads itself if `pads`."""
    config = step.layer.get_config()
    config["name"] = step.name
    if pads:
        config["padding"] = "same"
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
    if kind.__name__ == "LayerScale":
        kind = ChannelScale
    elif kind is layers.Conv2D and step.side is None:
        kind = PixelConv2D
    elif kind is layers.Conv2D and 1 < config["groups"] == config["filters"]:
        kind = ChannelwiseConv2D
    elif kind is layers.Activation and config["activation"] == "gelu":
        return ErfGelu(name=step.name)
    return kind.from_config(config)


class PixelConv2D(layers.Conv2D):
    """A 1x1 convolution of images of one pixel, as the product of two matrices that it is.

    Encoders weigh their channels so. The convolution takes several times as long to train.
    """

    def convolution_op(self, inputs, kernel):
        *_, before, after = kernel.shape
        outputs = ops.matmul(
            ops.reshape(inputs, (-1, before)), ops.reshape(kernel, (before, after))
        )
        return ops.reshape(outputs, (-1, 1, 1, after))


class ChannelwiseConv2D(layers.Conv2D):
    """A convolution of each channel alone, by the operation for that.

    Keras has one with groups compiled by XLA, which is slow on CPUs and can't be exported.
    """

    def convolution_op(self, inputs, kernel):
        kernel = ops.transpose(kernel, (0, 1, 3, 2))
        return ops.depthwise_conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
        )


class ErfGelu(layers.Layer):
    """The exact GELU by erf; TensorFlow's own is by erfc, which ONNX doesn't have."""

    def call(self, inputs):
        return 0.5 * inputs * (1 + ops.erf(inputs * 0.5**0.5))

    def compute_output_shape(self, input_shape):
        return input_shape


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
