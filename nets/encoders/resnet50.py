"""The ResNet50 encoder: five feature maps, each half the size of the one before.

For a 512x512 image and the article's `width=64`:

    feat1  256 x 256 x   64
    feat2  128 x 128 x  256
    feat3   64 x  64 x  512
    feat4   32 x  32 x 1024
    feat5   16 x  16 x 2048

Layers with weights are named as in the first Keras ResNet50 and in unet-keras:
`res{stage}{block}_branch2a|2b|2c|1` are convolutions, `bn...` their normalizations.

Source: He et al. 2015, arXiv:1512.03385, without the classifier. As there, a stage's stride
is in its first 1x1 convolution and in the shortcut. torchvision's has it in the 3x3 convolution
instead ("ResNet50 v1.5"), for which its weights are made.
"""

from keras import layers

BLOCKS = (3, 4, 6, 3)  # bottlenecks of stages 2 to 5
WIDENING = (1, 2, 4, 8)  # their narrow filters, in units of `width`; they end four times as wide


def ResNet50(img_input, width=64, kernel_initializer="glorot_uniform", stride_in_3x3=False):
    """Adds the ResNet50 encoder to an image tensor.

    Args:
        img_input: Keras tensor (B, H, W, channels); H and W multiples of 32 or None.
        width: int. Filters of the first convolution; 64 is ResNet50.
        kernel_initializer: str, of every convolution. Keras' default is upstream's.
        stride_in_3x3: bool, whether stages stride as torchvision's do.

    Returns:
        (feat1, ..., feat5), Keras tensors as in the table above.
    """
    x = layers.ZeroPadding2D(3, name="conv1_pad")(img_input)
    x = layers.Conv2D(width, 7, strides=2, kernel_initializer=kernel_initializer, name="conv1")(x)
    x = layers.BatchNormalization(name="bn_conv1")(x)
    x = layers.Activation("relu", name="conv1_relu")(x)
    features = [x]
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for stage, (count, widening) in enumerate(zip(BLOCKS, WIDENING, strict=True), start=2):
        for block in "abcdef"[:count]:
            strides = 2 if block == "a" and stage > 2 else 1
            name = f"{stage}{block}"
            x = _bottleneck(x, width * widening, strides, name, kernel_initializer, stride_in_3x3)
        features.append(x)
    return tuple(features)


def _bottleneck(x, filters, strides, name, initializer, stride_in_3x3):
    """1x1, 3x3 and 1x1 convolution, the last four times as wide, beside a shortcut."""

    def convolve(x, filters, size, branch, strides=1):
        padding = "same"
        if size > 1 and strides > 1:  # "same" would pad at the end alone
            x = layers.ZeroPadding2D(size // 2, name=f"res{name}_pad{branch}")(x)
            padding = "valid"
        x = layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding=padding,
            kernel_initializer=initializer,
            name=f"res{name}_branch{branch}",
        )(x)
        return layers.BatchNormalization(name=f"bn{name}_branch{branch}")(x)

    shortcut = x
    first, second = (1, strides) if stride_in_3x3 else (strides, 1)
    x = convolve(x, filters, 1, "2a", first)
    x = layers.Activation("relu", name=f"res{name}_relu1")(x)
    x = convolve(x, filters, 3, "2b", second)
    x = layers.Activation("relu", name=f"res{name}_relu2")(x)
    x = convolve(x, 4 * filters, 1, "2c")
    if name.endswith("a"):
        shortcut = convolve(shortcut, 4 * filters, 1, "1", strides)
    x = layers.Add(name=f"res{name}_add")([x, shortcut])
    return layers.Activation("relu", name=f"res{name}_out")(x)
