"""What a network costs: weights, and multiplications with an addition each."""

import math

from keras import layers

from nets.layers import AlignedUpSampling2D, UpsampledConv2D
from nets.unet import set_encoder_trainable

_WEIGHING = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense, UpsampledConv2D)


def multiply_adds(layer, output_shape):
    """The multiply-adds of a layer for one image; twice as many floating point operations.

    Those of convolutions and matrix products. What is done once for each number (biases,
    activations, normalization, pooling) is left out: less than a hundredth in the article's
    network. The zeros of "same" padding are counted like pixels, as is usual.

    Args:
        layer: keras.layers.Layer, built.
        output_shape: (B, height, width, channels); B doesn't matter and may be None. Of encoders
            that weigh their channels some layers give (B, channels).

    Returns:
        int.
    """
    if len(output_shape) != 4:
        return 0
    _, height, width, channels = output_shape
    if isinstance(layer, _WEIGHING):
        # Upsampled convolutions count as the article has them; see `nets.layers`.
        return math.prod(layer.kernel.shape) * height * width
    if isinstance(layer, AlignedUpSampling2D):
        # (H, H/2) by (H/2, W/2) for each channel, then (W, W/2) by (W/2, H) likewise.
        return channels * height * width * (height // 2 + width) // 2
    return 0


def count_parameters(model, backbone="vgg"):
    """Counts the weights by when they are trained; all layers are trainable afterwards.

    Args:
        model: what `nets.unet.Unet` builds.
        backbone: str, its encoder.

    Returns:
        (encoder, rest, moments), ints: what is frozen with the encoder, what is trained all
        the time, and what no optimizer changes (means and variances of batch normalization).
    """
    set_encoder_trainable(model, False, backbone)
    rest = _size(model.trainable_variables)
    set_encoder_trainable(model, True, backbone)
    encoder = _size(model.trainable_variables) - rest
    return encoder, rest, _size(model.non_trainable_variables)


def _size(variables):
    return sum(math.prod(variable.shape) for variable in variables)
