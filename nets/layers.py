"""How the decoder doubles height and width: nearest within a convolution, or bilinear."""

import keras
import numpy as np
from keras import ops

_NEVER = -1e9  # a logit
_TAKES = np.float32([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])  # rows of 4, of the kernel's 3


class UpsampledConv2D(keras.layers.Layer):
    """Nearest upsampling by 2, concatenation with a skip, and a 3x3 convolution, as one layer.

    The same numbers in fewer steps. A 3x3 convolution of a nearest upsampling sees each pixel
    several times; as a transposed 4x4 convolution with stride 2 it sees it once, with sums of
    the 3x3 kernel, and needs 4 products where it needed 9:

        conv3x3([skip, up(x)]) = conv3x3(skip) + conv_transpose4x4(x)

    Neither the upsampled features nor the concatenation are stored. Kernel and bias are those
    of the 3x3 convolution, as the article and its weights files have them. Where its three parts
    one after the other are faster nevertheless, `fused` set to False computes so.

    Args:
        filters: int.
        kernel_initializer, activation: as for `keras.layers.Conv2D`.
        fused: bool, which way it is computed; results are equal to a few digits.

    Call:
        inputs: x (B, H, W, C), or [skip (B, 2H, 2W, S), x].

    Returns:
        (B, 2H, 2W, filters).
    """

    def __init__(
        self,
        filters,
        kernel_initializer="glorot_uniform",
        activation="relu",
        fused=True,
        **options,
    ):
        super().__init__(**options)
        self.filters = filters
        self.fused = fused
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        shapes = input_shape if isinstance(input_shape[0], (list, tuple)) else [input_shape]
        channels = sum(shape[-1] for shape in shapes)
        # Not cast by Keras: sums of kernels need float32 in any number format.
        self.kernel = self.add_weight(
            name="kernel",
            shape=(3, 3, channels, self.filters),
            initializer=self.kernel_initializer,
            autocast=False,
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, inputs, training=False):
        skip, x = inputs if isinstance(inputs, (list, tuple)) else (None, inputs)
        if not self.fused:
            return self._call_in_parts(skip, x, training)
        kernel_of_skip, kernel = None, self.kernel
        if skip is not None:
            # Not two slices: the gradient of each is a whole kernel, and slow to fill.
            kernel_of_skip, kernel = ops.split(kernel, [skip.shape[-1]], axis=2)
        kernel = ops.cast(sum_neighbours(kernel), self.compute_dtype)
        outputs = ops.conv_transpose(x, kernel, strides=2, padding="same")
        if skip is not None:
            kernel_of_skip = ops.cast(kernel_of_skip, self.compute_dtype)
            outputs = ops.conv(skip, kernel_of_skip, padding="same") + outputs
        return self.activation(outputs + self.bias)

    def _call_in_parts(self, skip, x, training):
        x = _repeat_pixels(x) if training else _enlarge(x)
        x = x if skip is None else ops.concatenate([skip, x], axis=-1)
        kernel = ops.cast(self.kernel, self.compute_dtype)
        return self.activation(ops.conv(x, kernel, padding="same") + self.bias)

    def inner_shape(self, input_shape):
        """The shape of what training must keep beside inputs and outputs; None: nothing."""
        shapes = input_shape if isinstance(input_shape[0], (list, tuple)) else [input_shape]
        *size, _ = self.compute_output_shape(input_shape)
        return None if self.fused else (*size, sum(shape[-1] for shape in shapes))

    def compute_output_shape(self, input_shape):
        *_, (batch, height, width, _) = (
            input_shape if isinstance(input_shape[0], (list, tuple)) else [input_shape]
        )
        return (batch, height and 2 * height, width and 2 * width, self.filters)

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "fused": self.fused,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "activation": keras.activations.serialize(self.activation),
        }


def _repeat_pixels(x):
    return ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)


def _enlarge(x):
    """As `_repeat_pixels`, by an operation whose gradient TensorFlow computes in one thread, but
    which is one in an ONNX file, not two dozen that nothing computes in 8 bits."""
    height, width = ops.shape(x)[1:3]
    return ops.image.resize(x, (2 * height, 2 * width), interpolation="nearest")


def sum_neighbours(kernel):
    """(3, 3, in, out) of a convolution after nearest upsampling becomes (4, 4, out, in).

    Output row 2i + t takes x's row i by way of the upsampled rows 2i and 2i + 1, so with the
    rows 1 - t and 2 - t of the kernel, where it has them: t is -1 to 2.

    As products with a constant matrix: of a step with a light encoder, whose coarsest features
    have few pixels and many channels, padding, adding and flipping took a quarter. Rows first, then
    columns: sums of two, which are the same to the bit in any order.
    """
    *_, channels, filters = kernel.shape
    kernel = ops.reshape(ops.transpose(kernel, (0, 1, 3, 2)), (3, 3 * filters * channels))
    rows = ops.reshape(ops.matmul(_TAKES, kernel), (4, 3, filters * channels))
    return ops.reshape(ops.matmul(_TAKES, rows), (4, 4, filters, channels))


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


class ExcludeClasses(keras.layers.Layer):
    """Lowers the logits of some classes so far that the softmax gives them a probability of 0.

    Args:
        num_classes: int, channels of the logits.
        excluded: class ids.
    """

    def __init__(self, num_classes, excluded, **options):
        super().__init__(**options)
        # Finite: times a label of 0, minus infinity would make the loss no number.
        self._offsets = [_NEVER if index in excluded else 0.0 for index in range(num_classes)]

    def call(self, inputs):
        return inputs + ops.convert_to_tensor(self._offsets, dtype=inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
