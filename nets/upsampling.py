"""Bilinear upsampling with aligned corners, which Keras does not have."""

import keras
from keras import ops


class AlignedUpSampling2D(keras.layers.Layer):
    """Doubles height and width: bilinear, the corners' pixels staying in the corners.

    Row i of 2n takes its value from row i (n - 1) / (2n - 1) of n; columns likewise. Each
    axis is one product with the matrix of these weights, whose gradient is a product too.

    Source: `torch.nn.UpsamplingBilinear2d`, as unet-pytorch uses it.
    """

    def call(self, inputs):
        height, width = ops.shape(inputs)[1:3]
        x = ops.einsum("ih,bhwc->biwc", self._weights(height), inputs)
        return ops.einsum("jw,biwc->bijc", self._weights(width), x)

    def _weights(self, length):
        """(2n, n): how much of each old pixel is in each new one."""
        # In float32: bfloat16 can't tell positions beyond 256 apart.
        last = ops.cast(length - 1, "float32")
        old = ops.arange(0, length, dtype="float32")
        new = ops.arange(0, 2 * length, dtype="float32") * last / (2 * last + 1)
        weights = ops.relu(1 - ops.abs(new[:, None] - old[None, :]))
        return ops.cast(weights, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        batch, *size, channels = input_shape
        return (batch, *(side and 2 * side for side in size), channels)
