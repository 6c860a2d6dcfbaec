"""ImageNet weights of Keras' encoders as start weights here, whatever their preprocessing is.

Keras gives each encoder its images in numbers of its own: [-1, 1], BGR minus means, divided by
deviations, by a function or by layers of the network. All of it is affine: x becomes A x + o, which
is found by trying, and the first convolution takes it up. Where that has no bias, the mean of the
batch normalization after it does. Inside the image the features then are Keras' own; at the border
zeros are padded, which mean medium grey here.

Features that nothing normalizes are brought to unit size, see `nets.weights.feature_sizes`: all of
VGG19's, and ResNetV2's finest ones, which are the first convolution's own.
"""

import sys
from dataclasses import replace

import keras
import numpy as np
from keras import layers

from errors import UserError
from nets.backbones import BACKBONES
from nets.encoders.catalogue import FIRST
from nets.encoders.keras_graph import find_features, is_bare, open_application, trace
from nets.precision import dtype_policy
from nets.weights.feature_sizes import find_unit_factor, scale_vgg19

# Keras has EfficientNet divide by the root of the deviations once more, with ImageNet's weights
# alone: its authors had divided by the variances. Of R, G, B.
_EFFICIENTNET = np.array([0.229, 0.224, 0.225]) ** -0.5


def adapt_application(stored, backbone):
    """Renames and adapts the layers of Keras' own file for this network.

    Args:
        stored: `nets.weights.description.Stored`, as read; its layers in the file's order, which
            is what Keras goes by too.
        backbone: str, a key of `BACKBONES` with an `application`.

    Returns:
        Stored.

    Raises:
        UserError: if it holds something else, or less.
    """
    name = BACKBONES[backbone].application
    with dtype_policy("float32"):
        application = open_application(name)
        _fill(application, stored)
        steps = trace(application)
        factors, offsets = _preprocessing(name, application)
    arrays = {step.name: step.layer.get_weights() for step in steps if step.layer.weights}
    _take_preprocessing(arrays, steps, factors, offsets)
    if BACKBONES[backbone].unit_size:
        scale_vgg19(arrays, _blocks(steps))
    if any(is_bare(steps[index].layer) for index in find_features(steps)):
        _scale_first(arrays, steps)
    return replace(
        stored,
        kind="ImageNet weights of Keras",
        layers=arrays,
        facts={"backbone": backbone},
        is_pretrained=True,
    )


def _fill(application, stored):
    """Sets the weights of Keras' own network, layer by layer in their order."""
    filled = [layer for layer in application.layers if layer.weights]
    fits = len(filled) == len(stored.layers) and all(
        [tuple(weight.shape) for weight in layer.weights] == [array.shape for array in arrays]
        for layer, arrays in zip(filled, stored.layers.values(), strict=True)
    )
    if not fits:
        raise UserError(
            f"{stored.path} is named as Keras' ImageNet weights, but holds another network. "
            "Give it another name if it is yours, or remove it."
        )
    for layer, arrays in zip(filled, stored.layers.values(), strict=True):
        layer.set_weights(arrays)
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()  # it computes with copies of its weights


def _preprocessing(name, application):
    """What Keras makes of RGB in [-1, 1] before the first convolution.

    Returns:
        (A (3, 3), o (3,)), float64: x becomes A x + o.
    """
    module = sys.modules[getattr(keras.applications, name).__module__]
    tried = np.concatenate([np.zeros((1, 3)), np.eye(3)])[:, None, None].astype(np.float32)
    x = module.preprocess_input(127.5 * (tried + 1))
    for layer in application.layers:
        if isinstance(layer, layers.Conv2D):
            break
        if isinstance(layer, (layers.Rescaling, layers.Normalization)):
            x = layer(x)
    x = np.asarray(keras.ops.convert_to_numpy(x), np.float64)[:, 0, 0]
    if module is sys.modules[keras.applications.EfficientNetB0.__module__]:
        x = x * _EFFICIENTNET
    return (x[1:] - x[0]).T, x[0]


def _take_preprocessing(arrays, steps, factors, offsets):
    """Has the first convolution give for x in [-1, 1] what it gave for A x + o, in place."""
    kernel, *bias = arrays[FIRST]
    constant = np.einsum("hwdo,d->o", kernel.astype(np.float64), offsets)
    kernel = np.einsum("hwdo,dc->hwco", kernel.astype(np.float64), factors).astype(np.float32)
    arrays[FIRST] = [kernel, *((one + constant).astype(np.float32) for one in bias)]
    if not bias:
        (first,) = (index for index, step in enumerate(steps) if step.name == FIRST)
        (after,) = (step for step in steps if step.inputs == (first,))
        mean = [weight.name for weight in after.layer.weights].index("moving_mean")
        arrays[after.name][mean] = (arrays[after.name][mean] - constant).astype(np.float32)


def _scale_first(arrays, steps):
    """Brings the first convolution's features to unit size, in place.

    The batch normalization after it, with a pooling between, then gives what it gave: it sees s x
    with s times the mean and s^2 times the variance, and gamma takes up the epsilon.
    """
    first = next(index for index, step in enumerate(steps) if step.name == FIRST)
    kernel, *bias = arrays[FIRST]
    factor = find_unit_factor(kernel, *bias, strides=steps[first].layer.strides[0])
    arrays[FIRST] = [array * np.float32(factor) for array in (kernel, *bias)]
    for step in steps[first + 1 :]:
        if isinstance(step.layer, layers.BatchNormalization):
            gamma, beta, mean, variance = arrays[step.name]
            epsilon, scaled = step.layer.epsilon, variance * np.float32(factor**2)
            gamma = gamma * np.sqrt((scaled + epsilon) / (variance + epsilon)) / factor
            mean = mean * np.float32(factor)
            arrays[step.name] = [gamma.astype(np.float32), beta, mean, scaled]
            return


def _blocks(steps):
    """The names of the convolutions between poolings."""
    blocks = [[]]
    for step in steps:
        if isinstance(step.layer, layers.MaxPooling2D):
            blocks.append([])
        else:
            blocks[-1].append(step.name)
    return [block for block in blocks if block]
