"""A twin of a network that keeps few activations and computes the others again.

Training keeps the outputs of all layers until the backward pass has used them; that is most
of its memory. The twin keeps only what passes from one stage to the next. When the backward
pass reaches a stage, its layers run once more: about a third more work for a step.

Source: Chen et al. 2016, arXiv:1604.06174, by way of `keras.RematScope`.
"""

import itertools

import keras

from nets.precision import dtype_policy


def rematerialized(model):
    """Builds the twin: the same layers and weights, the same inputs and outputs.

    Layers whose names share what stands before the first "_" are a stage: block1, decoder4,
    head. `keras.RematScope` around single layers would save little, since all that passes
    between them would stay. All up to the last batch normalization is a stage that runs once,
    since a second run would change the statistics twice.

    Args:
        model: keras.Model from one tensor to one tensor, each layer of it used once.

    Returns:
        keras.Model. Its layers are the stages, and in them those of `model`, so freezing
        and training either changes both. Weights are in the order of `model`.
    """
    (start,), (end,) = model.inputs, model.outputs
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    normalized = [isinstance(layer, keras.layers.BatchNormalization) for layer in layers]
    once = len(layers) - normalized[::-1].index(True) if any(normalized) else 0
    stages = [list(stage) for _, stage in itertools.groupby(layers[once:], _stage_name)]
    stages = [layers[:once], *stages] if once else stages
    tensors = {id(start): start}
    for index, stage in enumerate(stages):
        later = [layer for other in stages[index + 1 :] for layer in other]
        wanted = {id(tensor) for layer in later for tensor in _inputs(layer)} | {id(end)}
        sources = [tensor for layer in stage for tensor in _inputs(layer) if id(tensor) in tensors]
        sources = list({id(tensor): tensor for tensor in sources}.values())
        results = [layer.output for layer in stage if id(layer.output) in wanted]
        with keras.RematScope(mode=None if once and index == 0 else "full"):
            block = _Stage(stage, sources, results)
        outputs = block([tensors[id(source)] for source in sources])
        tensors |= {id(result): output for result, output in zip(results, outputs, strict=True)}
    # Keras scales the loss under mixed_float16 only if the model itself has that policy.
    with dtype_policy(model.dtype_policy):
        return keras.Model(start, tensors[id(end)], name=f"{model.name}_rematerialized")


class _Stage(keras.layers.Layer):
    """Runs layers of a functional model, from some of its tensors to others.

    Args:
        stage: list of layers, each after those that it needs.
        sources, results: lists of the model's symbolic tensors that go in and come out.
    """

    def __init__(self, stage, sources, results):
        # Each layer inside casts for itself; cast here, all would be stored as float32.
        super().__init__(name=f"{_stage_name(stage[0])}_stage", autocast=False)
        self.stage = stage
        self._sources = [id(tensor) for tensor in sources]
        self._results = [id(tensor) for tensor in results]
        self.built = True

    def call(self, inputs):
        tensors = dict(zip(self._sources, inputs, strict=True))
        for layer in self.stage:
            given = [tensors[id(tensor)] for tensor in _inputs(layer)]
            tensors[id(layer.output)] = layer(given if isinstance(layer.input, list) else given[0])
        return [tensors[result] for result in self._results]

    def compute_output_spec(self, inputs):
        tensors = dict(zip(self._sources, inputs, strict=True))
        for layer in self.stage:
            given = [tensors[id(tensor)] for tensor in _inputs(layer)]
            given = given if isinstance(layer.input, list) else given[0]
            tensors[id(layer.output)] = layer.compute_output_spec(given)
        return [tensors[result] for result in self._results]


def _stage_name(layer):
    return layer.name.split("_")[0]


def _inputs(layer):
    return layer.input if isinstance(layer.input, list) else [layer.input]
