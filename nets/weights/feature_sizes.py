"""Brings an encoder's features to unit size, without any other change.

Pretrained features can be huge: the root mean squares of those of Keras' VGG16, on street images,
are 47, 199, 295, 412, 476, 496, 433, 332, 197, 77, 60, 28 and 4.9 from block1_conv1 to
block5_conv3. A decoder that starts at random carries that to the logits, and softmax saturates.

ReLU(a x) = a ReLU(x) for a > 0. So with s_l = 1 / rms_l (s_0 = 1: the image) the kernel W_l s_l /
s_(l-1) and the bias b_l s_l make s_l times the features, for every image: each layer still tells
the same things apart.

The sizes are measured on a drawn image, and multiplied by what they are on street images to what
they are on it: the same numbers on every machine, whatever the user's images are. On electron
microscopy features have 0.5 to 1.1 times the sizes above, on images squeezed to 96x80 1.1 to 1.6.
"""

import numpy as np

from nets.encoders.vgg16 import CONVOLUTIONS

_SIDE = 128  # pixels of the drawn image
_DISCS = 2000  # so many that nothing else is seen
_SMALLEST, _LARGEST = 2, _SIDE / 3  # their radii, in pixels
_CONTRAST = 0.5  # brightness of a disc, at most, in images of [-1, 1]
_TINT = 0.1  # standard deviation of its colour
# Size on street images of CamVid / size on the drawn image, of each convolution of Keras' VGG16.
_STREETS = (1.2, 1.1, 0.93, 0.85, 0.85, 0.9, 0.88, 0.93, 0.97, 1.03, 1.22, 1.54, 1.81)
# VGG19's weren't measured: its blocks are VGG16's, some with a fourth convolution.
_STREETS_19 = (*_STREETS[:7], 0.88, *_STREETS[7:10], 1.03, *_STREETS[10:], 1.81)


def scale_vgg16(layers):
    """Scales VGG16's convolutions in place, so that their features are of about unit size.

    Args:
        layers: dict that holds, for each of VGG16's convolutions, [kernel (3, 3, in, out), bias]
            for images of three channels in [-1, 1].

    Returns:
        dict from a layer's name to s_l, by which its features are multiplied.
    """
    blocks = [
        [f"block{block}_conv{index}" for index in range(1, count + 1)]
        for block, count in enumerate(CONVOLUTIONS, start=1)
    ]
    return _scale(layers, blocks, _STREETS)


def scale_vgg19(layers, blocks):
    """As `scale_vgg16`, of VGG19.

    Args:
        layers: dict that holds [kernel, bias] of each convolution.
        blocks: their names, a list for each block.
    """
    return _scale(layers, blocks, _STREETS_19)


def find_unit_factor(kernel, bias, strides):
    """What brings the features of a first convolution to about unit size.

    Args:
        kernel: (side, side, 3, filters) for images in [-1, 1]; side is odd.
        bias: (filters,).
        strides: int.

    Returns:
        float.
    """
    y = _convolve(draw_dead_leaves(), kernel, strides) + bias
    return _inverse(np.sqrt(np.mean(np.square(y, dtype=np.float64))))


def _inverse(rms):
    """1 / rms to two digits: rounding that differs between processors doesn't reach the weights."""
    return float(f"{1 / rms:.1e}") if rms > 0 else 1.0


def _scale(layers, blocks, streets):
    """Scales convolutions with ReLU, between whose blocks there is a max pooling by 2, in place."""
    x, before, factors = draw_dead_leaves(), 1.0, {}
    for number, block in enumerate(blocks):
        if number:
            height, width, channels = x.shape
            x = x.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))
        for name in block:
            kernel, bias = layers[name]
            y = np.maximum(_convolve(x, kernel * np.float32(1 / before)) + bias, 0)
            rms = streets[len(factors)] * np.sqrt(np.mean(np.square(y, dtype=np.float64)))
            factor = _inverse(rms)
            layers[name] = [kernel * np.float32(factor / before), bias * np.float32(factor)]
            x, before = y * np.float32(factor), factor
            factors[name] = factor
    return factors


def draw_dead_leaves():
    """Discs that cover each other, with radii r of density r^-3: edges and areas of every size.

    Returns:
        float32 (128, 128, 3) in [-1, 1].

    Source: Lee, Mumford and Huang 2001, "Occlusion models for natural images".
    """
    rng = np.random.default_rng(0)
    rows, columns = np.indices((_SIDE, _SIDE))
    image = np.zeros((_SIDE, _SIDE, 3), np.float32)
    for _ in range(_DISCS):
        share = rng.uniform()
        radius = ((1 - share) / _SMALLEST**2 + share / _LARGEST**2) ** -0.5
        row, column = rng.uniform(0, _SIDE, 2)
        color = _CONTRAST * rng.uniform(-1, 1) + rng.normal(0, _TINT, 3)
        image[np.hypot(rows - row, columns - column) < radius] = color
    return np.clip(image, -1, 1)


def _convolve(x, kernel, strides=1):
    """A convolution of (H, W, in), padded with zeros; in NumPy, for equal results anywhere."""
    side = len(kernel)
    padded = np.pad(x, ((side // 2, side // 2), (side // 2, side // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))
    return np.tensordot(windows[::strides, ::strides], kernel, axes=((3, 4, 2), (0, 1, 2)))
