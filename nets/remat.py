"""A twin of a network that keeps few activations and computes the rest again.

Training keeps each layer's output until the backward pass has used it: most of its memory.
Here only the tensors between stretches of layers are kept; a stretch runs once more when its
turn comes in the backward pass. That is one more forward pass, about a third more work.

Source: Chen et al. 2016, arXiv:1604.06174 (sublinear memory cost); `keras.RematScope`.
"""

import keras

from nets.precision import dtype_policy


def rematerialized(model):
    """Builds the twin: the same layers and weights, inputs and outputs.

    A stretch ends at each tensor that more than one layer uses (a skip) and at its only
    convolution; so the backward pass holds what one convolution needs, and no more.

    Args:
        model: keras.Model from one tensor to one tensor, of layers that have no state
            besides their weights. Layers are shared, so freezing works on either.

    Returns:
        keras.Model; its own layers are the stretches, those of `model` are inside them.
    """
    kept = {model.inputs[0]: keras.Input(batch_shape=model.inputs[0].shape)}
    for stretch in _stretches(model):
        ...
