"""An encoder of `keras.applications` as a list of steps, and the features found among them.

Keras' own model is a graph in which some layers stand inside others, and some operations outside
of any layer. Here each step is a layer, without the preprocessing, which the start weights take up,
and without the random dropping of branches: a run that resumes could not draw the same ones again.

Which features the decoder gets is read off the graph, see `find_features`.
"""

import re
from dataclasses import dataclass

import keras
from keras import layers

from nets.encoders.catalogue import FIRST

SIDE = 256  # pixels of the images that the graph is looked at with
IMAGE = -1  # as an index of a step: what all starts from
_WEIGHING = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
_PREPROCESSING = (layers.Rescaling, layers.Normalization)
_RESIZING = (layers.ZeroPadding2D, layers.MaxPooling2D, layers.AveragePooling2D)
_POINTWISE = (layers.BatchNormalization, layers.LayerNormalization, layers.Activation, layers.ReLU)


@dataclass(frozen=True)
class Step:
    """A layer of an encoder.

    Attributes:
        layer: keras.layers.Layer of Keras' own model, or what an operation there is as a layer.
        name: str, of the layer in this project's networks.
        inputs: tuple of int, the steps whose results it takes, or `IMAGE`.
        side: int, height of its result for an image of `SIDE`; None: it has no height.
    """

    layer: keras.layers.Layer
    name: str
    inputs: tuple[int, ...]
    side: int | None

    @property
    def level(self):
        """int, how often the image is halved here; None if its side is no such part."""
        exact = self.side and SIDE % self.side == 0 and (SIDE // self.side).bit_count() == 1
        return (SIDE // self.side).bit_length() - 1 if exact else None


def open_application(name):
    """Keras' own model without its top, such as "MobileNetV3Large", with random weights."""
    model = getattr(keras.applications, name)
    return model(weights=None, include_top=False, input_shape=(SIDE, SIDE, 3))


def trace(application):
    """The steps of Keras' own model, each after those that it needs.

    Args:
        application: keras.Model of `keras.applications` for images of `SIDE`.

    Returns:
        list of Step.
    """
    tracer = _Tracer(application.input)
    keras.models.clone_model(
        application,
        input_tensors=application.input,
        clone_function=lambda layer: layer,
        call_function=tracer.take,
    )
    return tracer.steps


class _Tracer:
    """Notes what a graph runs; `where` tells of each tensor which step gives it."""

    def __init__(self, image):
        self.steps, self.where, self.level, self.counts = [], {id(image): IMAGE}, 0, {}

    def take(self, operation, *given, **_):
        """Notes an operation of the graph and returns its result."""
        tensors = [x for x in keras.tree.flatten(given) if isinstance(x, keras.KerasTensor)]
        inputs = tuple(self.where[id(tensor)] for tensor in tensors)
        result = operation.output
        if isinstance(operation, keras.Sequential):
            for layer in operation.layers:
                inputs = (self._note(layer, inputs, layer.output),)
            self.where[id(result)] = inputs[0]
        elif self._is_left_out(operation):
            self.where[id(result)] = inputs[0]
        else:
            if not isinstance(operation, layers.Layer):
                operation = _as_layer(operation, *given)
            self.where[id(result)] = self._note(operation, inputs, result)
        return result

    def _is_left_out(self, operation):
        before = isinstance(operation, _PREPROCESSING) and not self.steps
        return before or isinstance(operation, layers.Dropout)

    def _note(self, layer, inputs, result):
        is_first = isinstance(layer, layers.Conv2D) and not any(
            isinstance(step.layer, layers.Conv2D) for step in self.steps
        )
        side = result.shape[1] if len(result.shape) == 4 and result.shape[1] > 1 else None
        step = Step(layer, "", inputs, side)
        self.level = max(self.level, step.level or 0)
        name = FIRST if is_first else f"encoder{self.level}_{self._own_name(layer)}"
        self.steps.append(Step(layer, name, inputs, side))
        return len(self.steps) - 1

    def _own_name(self, layer):
        """A layer's name; counted here where Keras counted it, which goes on from one to the next
        network."""
        kind = type(layer).__name__.lower()
        if re.sub(r"_\d+$", "", layer.name).replace("_", "") != kind:
            return layer.name
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"{kind}{self.counts[kind]}"


def _as_layer(operation, left, right):
    """An operation of Keras' graph as a layer: a sum, or numbers added or multiplied."""
    kind, is_sum = type(operation).__name__, isinstance(right, keras.KerasTensor)
    if kind == "Add":
        return layers.Add() if is_sum else layers.Rescaling(1.0, right)
    if kind == "Multiply" and not is_sum:
        return layers.Rescaling(right)
    raise NotImplementedError(f"Keras' encoder has an operation {kind}, which is no layer here.")


def find_features(steps):
    """The features that the decoder takes: of each size, the last that all smaller are made from.

    These are results through which every way from the image to the end leads. From the last one of
    a size on, normalization and activation are followed where they are next. A convolution that is
    not yet activated or normalized gives way to what is before it. A size with nothing but
    poolings has no features: VGG19's last one has none.

    Returns:
        list of int, the steps, from the finest to the coarsest; their strides double.
    """
    passed = _narrows(steps)
    features = []
    for level in range(SIDE.bit_length()):
        found = [index for index in passed if steps[index].level == level]
        if found:
            found += _followed(steps, found[-1])
        found = [index for index in found if not isinstance(steps[index].layer, _RESIZING)]
        ready = [index for index in found if not is_bare(steps[index].layer)]
        if found:
            features.append((ready or found)[-1])
    return features


def find_paddings(steps):
    """The steps that pad as much as the convolution after them would with "same".

    What that pads depends on the size, which is a multiple of the stride here. A convolution that
    pads by itself takes less time, and training stores no padded features.

    Returns:
        set of int.
    """
    found = set()
    for step in steps:
        source, conv = step.inputs[0], step.layer
        is_conv = isinstance(conv, (layers.Conv2D, layers.DepthwiseConv2D))
        if source == IMAGE or not is_conv or conv.padding == "same":
            continue
        before = steps[source].layer
        sides = zip(conv.kernel_size, conv.strides, strict=True)
        missing = [side - stride for side, stride in sides]
        same = tuple((count // 2, count - count // 2) for count in missing)
        if isinstance(before, layers.ZeroPadding2D) and before.padding == same:
            found.add(source)
    return found


def find_misfit(steps):
    """The first step on the way whose height is no half, fourth, ... of the image's; or None.

    Padding makes a result larger for a convolution that makes it smaller again.
    """
    wrong = (
        steps[index]
        for index in _narrows(steps)
        if steps[index].level is None and not isinstance(steps[index].layer, layers.ZeroPadding2D)
    )
    return next(wrong, None)


def _narrows(steps):
    """The steps that every way from the image to the last step leads through, in their order."""
    through = {IMAGE: frozenset()}
    for index, step in enumerate(steps):
        ways = [through[source] for source in step.inputs]
        through[index] = frozenset.intersection(*ways) | {index}
    return sorted(through[len(steps) - 1])


def _followed(steps, index):
    """The normalization and activation next to a step, where its own are not yet."""
    found, at = [], index
    while True:
        users = [
            number
            for number, step in enumerate(steps)
            if at in step.inputs and isinstance(step.layer, _POINTWISE)
        ]
        if len(users) != 1:
            return found
        (at,) = users
        found.append(at)


def is_bare(layer):
    """Whether a layer's result is neither activated nor normalized: a convolution's own."""
    return isinstance(layer, _WEIGHING) and layer.activation is keras.activations.linear
