"""The U-Net: an encoder's five feature maps, a decoder with skips, a softmax head.

    feat5 -> up, concat feat4, 2 x conv 512
          -> up, concat feat3, 2 x conv 256
          -> up, concat feat2, 2 x conv 128
          -> up, concat feat1, 2 x conv  64 -> 1x1 conv -> softmax

Source: Ronneberger, Fischer and Brox 2015, arXiv:1505.04597, in the form of the
unet-keras article: 24,892,437 parameters at 21 classes.
"""

import keras
from keras import layers

from nets.checks import BACKBONES, check_backbone, check_input_shape, check_num_classes
from nets.vgg16 import VGG16

_ENCODERS = {"vgg": VGG16}
_DECODER_WIDENING = (8, 4, 2, 1)  # filters from feat4's stage to feat1's, in units of `width`


def Unet(
    input_shape=(256, 256, 3),
    num_classes=21,
    backbone="vgg",
    *,
    encoder_initializer="glorot_uniform",
    width=64,
):
    """Builds the U-Net.

    Args:
        input_shape: (height, width, channels); height and width multiples of 16 or None.
        num_classes: int, 2 to 255, the background included.
        backbone: "vgg".
        encoder_initializer: str, kernel initializer of the encoder. Keras' default is the
            article's; "he_normal" learns far faster when training from scratch.
        width: int. Filters of the first block; 64 is the article's network.

    Returns:
        keras.Model from pictures (B, H, W, channels), float in [-1, 1], to class
        probabilities (B, H, W, num_classes), float32 whatever the precision policy.

    Raises:
        UserError: for a size, class count or backbone that the network can't have.
    """
    check_input_shape(input_shape, backbone)
    check_num_classes(num_classes)
    inputs = keras.Input(input_shape, name="image")
    *skips, x = _ENCODERS[backbone](inputs, width, encoder_initializer)
    for stage, (skip, widening) in enumerate(
        zip(reversed(skips), _DECODER_WIDENING, strict=True), start=1
    ):
        x = _decoder_stage(x, skip, width * widening, f"decoder{stage}")
    # float32 logits: bfloat16 keeps 8 bits, too few to tell close classes apart.
    x = layers.Conv2D(num_classes, 1, dtype="float32", name="head_conv")(x)
    outputs = layers.Softmax(dtype="float32", name="head_softmax")(x)
    return keras.Model(inputs, outputs, name=f"unet_{backbone}")


def _decoder_stage(x, skip, filters, name):
    x = layers.UpSampling2D(name=f"{name}_upsample")(x)
    x = layers.Concatenate(name=f"{name}_concat")([skip, x])
    for index in (1, 2):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"{name}_conv{index}",
        )(x)
    return x


def set_encoder_trainable(model, trainable, backbone="vgg"):
    """Freezes or unfreezes the encoder, found by layer name.

    Differs from upstream, which counts layers and leaves the encoder's last ones trainable.

    Returns:
        list of str: the names of the encoder's layers that have weights.
    """
    check_backbone(backbone)
    prefix = BACKBONES[backbone].layer_prefix
    encoder = [layer for layer in model.layers if layer.name.startswith(prefix)]
    for layer in encoder:
        layer.trainable = trainable
    return [layer.name for layer in encoder if layer.weights]
