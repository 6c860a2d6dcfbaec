"""The VGG16 encoder: five feature maps, each half the size of the one before.

For a 512x512 image and the article's `width=64`:

    feat1  512 x 512 x  64
    feat2  256 x 256 x 128
    feat3  128 x 128 x 256
    feat4   64 x  64 x 512
    feat5   32 x  32 x 512

Every encoder offers this contract: `ENCODER(img_input, ...) -> (feat1, ..., feat5)`.
Layer names are those of `keras.applications.VGG16`, so that its weights load by name.

Source: Simonyan and Zisserman 2014, arXiv:1409.1556, without the classifier and, as in
the article, without the pooling after the last block.
"""

from keras import layers

CONVOLUTIONS = (2, 2, 3, 3, 3)  # in each block
WIDENING = (1, 2, 4, 8, 8)  # filters of each block, in units of `width`


def VGG16(img_input, width=64, kernel_initializer="glorot_uniform"):
    """Adds the VGG16 encoder to an image tensor.

    Args:
        img_input: Keras tensor (B, H, W, channels); H and W multiples of 16 or None.
        width: int. Filters of the first block; 64 is VGG16.
        kernel_initializer: str, of every convolution. Keras' default is the article's.

    Returns:
        (feat1, ..., feat5), Keras tensors as in the table above.
    """
    x, features = img_input, []
    for block, (count, widening) in enumerate(zip(CONVOLUTIONS, WIDENING, strict=True), start=1):
        if block > 1:
            x = layers.MaxPooling2D(name=f"block{block - 1}_pool")(x)
        for index in range(1, count + 1):
            x = layers.Conv2D(
                width * widening,
                3,
                padding="same",
                activation="relu",
                kernel_initializer=kernel_initializer,
                name=f"block{block}_conv{index}",
            )(x)
        features.append(x)
    return tuple(features)
