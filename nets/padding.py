"""Images of any size: padded to what the encoder can halve, and the result cut to their size.

What is padded is medium grey, 0, as beside an image that is letterboxed. It never reaches a loss
or a score, since it is cut off before the head.
"""

import keras
from keras import ops


class PadToStride(keras.layers.Layer):
    """Pads images at the bottom and at the right to multiples of the stride.

    Args:
        stride: int.

    Call:
        inputs: (B, H, W, C).

    Returns:
        (B, H', W', C), the next multiples.
    """

    def __init__(self, stride, **options):
        super().__init__(**options)
        self.stride = stride

    def call(self, inputs):
        height, width = ops.shape(inputs)[1:3]
        more = [(0, -side % self.stride) for side in (height, width)]
        return ops.pad(inputs, ((0, 0), *more, (0, 0)))

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        sides = [side and side + -side % self.stride for side in sides]
        return (batch, *sides, channels)

    def get_config(self):
        return super().get_config() | {"stride": self.stride}


class CropLike(keras.layers.Layer):
    """Cuts features to the size of the images that were padded.

    Call:
        inputs: [features (B, H', W', C), images (B, H, W, ...)].

    Returns:
        (B, H, W, C).
    """

    def call(self, inputs):
        features, images = inputs
        height, width = ops.shape(images)[1:3]
        return features[:, :height, :width]

    def compute_output_shape(self, input_shape):
        features, images = input_shape
        return (*images[:3], features[-1])
