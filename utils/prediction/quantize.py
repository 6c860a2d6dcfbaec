"""An ONNX file in 8-bit integers, made by ONNX Runtime's static quantizer."""

from utils.prediction.export_formats import INPUT, OUTPUT


def quantize(source, target, inputs):
    """Writes an ONNX file in 8-bit integers.

    Args:
        source: Path of a float32 file of `write_network`.
        target: Path.
        inputs: float32 (1, height, width, channels) arrays to find the features' ranges with.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        left = iter(inputs)

        def get_next(self):
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch}

    _modernize_resizes(source)
    folded = source.with_name("folded.onnx")  # normalization within convolutions
    quant_pre_process(source, folded, skip_symbolic_shape=True)
    quantize_static(
        folded,
        target,
        Reader(),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        # 7 bits of weights: processors without VNNI saturate sums of larger products, and would
        # score less than what is measured here.
        reduce_range=True,
        nodes_to_exclude=_head_of(folded),
    )


def _modernize_resizes(path):
    """Says "by 2, to the nearest" as ONNX does today; of tf2onnx' words ONNX Runtime warns."""
    import onnx

    network = onnx.load(path)
    modern = {"coordinate_transformation_mode": b"asymmetric", "nearest_mode": b"floor"}
    for node in network.graph.node:
        if node.op_type == "Resize" and _attributes(node).get("mode") == b"nearest":
            attributes = _attributes(node) | modern
            del node.attribute[:]
            node.attribute.extend(onnx.helper.make_attribute(*one) for one in attributes.items())
    onnx.save(network, path)


def _attributes(node):
    import onnx

    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


def _head_of(path):
    """The names of the nodes from the last convolution to the probabilities."""
    import onnx

    graph = onnx.load(path).graph
    makers = {output: node for node in graph.node for output in node.output}
    nodes = [makers[OUTPUT]]
    while nodes[-1].op_type != "Conv":
        nodes.append(next(makers[name] for name in nodes[-1].input if name in makers))
    return [node.name for node in nodes]
