"""The U-Net: an encoder's five feature maps, a decoder with skips, a softmax head.

    feat5 -> up, concat feat4, 2 x conv 512
          -> up, concat feat3, 2 x conv 256
          -> up, concat feat2, 2 x conv 128
          -> up, concat feat1, 2 x conv  64 -> 1x1 conv -> softmax

Most encoders' feat1 is half the image's size, ResNet50's for one: there, before the 1x1
convolution, another upsampling and two convolutions of 64 filters restore it. ConvNeXt's, which are
four, begin at a fourth, and two more do. Light encoders have a lighter decoder.

Source: Ronneberger, Fischer and Brox 2015, arXiv:1505.04597, in the form of the
unet-keras article: 24,892,437 parameters at 21 classes, 44,013,781 with ResNet50.
"""

import math
from itertools import zip_longest

import keras
from keras import layers

from nets.backbones import BACKBONES
from nets.checks import (
    check_backbone,
    check_decoder_norm,
    check_decoder_width,
    check_input_shape,
    check_num_classes,
    check_upsampling,
)
from nets.encoders.widths import DECODER_WIDENING
from nets.layers import AlignedUpSampling2D, ExcludeClasses, UpsampledConv2D
from nets.padding import CropLike, PadToStride
from utils.labels import ignored_classes

_GROUPS = 32  # of group normalization, as its paper has it, or as many as divide the filters


def Unet(
    input_shape=(256, 256, 3),
    num_classes=21,
    backbone="vgg",
    *,
    encoder_initializer="glorot_uniform",
    decoder_initializer="he_normal",
    head_initializer="glorot_uniform",
    width=64,
    decoder_width=0,
    decoder_norm="none",
    upsampling="nearest",
    unit_range=False,
    stride_in_3x3=False,
    fused=True,
    excluded=(),
    any_size=False,
):
    """Builds the U-Net.

    Args:
        input_shape: (height, width, channels); height and width may be None. Those that are no
            multiples of the encoder's stride (16 for vgg and vgg19, 32 for all others) are padded
            inside the network.
        num_classes: int, 2 to 255, the background included.
        backbone: str, a key of `nets.backbones.BACKBONES`.
        encoder_initializer: str, kernel initializer of the encoder. Keras' default is the
            article's; "he_normal" learns far faster when training from scratch.
        decoder_initializer: str, kernel initializer of the decoder's convolutions.
        head_initializer: str or initializer, of the head's kernel; see `small_head`.
        width: int. Filters of the first block; 64 is the article's network. In encoders of Keras
            the share of their own channels, in 64ths.
        decoder_width: int. Filters of the decoder's last stage; those before have 1, 2, 4 and 8
            times as many. 0: as many as the encoder's first convolution, 64 at most.
        decoder_norm: "none", as in the article; "batch" or "group": what normalizes between each
            convolution of the decoder and its ReLU.
        upsampling: "nearest", as in the article; "bilinear": with aligned corners, as in
            unet-pytorch.
        unit_range: bool. Whether the encoder's weights expect [0, 1], as unet-pytorch's do:
            images in [-1, 1] are then mapped to it first.
        stride_in_3x3: bool. Whether ResNet50's stages stride as torchvision's do.
        fused: bool. Whether upsampling, concatenation and convolution are one step, which is
            mostly faster and equal to a few digits; with the same layers and weights either way.
        excluded: ids of classes that are never predicted: their probability is 0.
        any_size: bool. Whether a height or width of None may be no multiple of the stride.

    Returns:
        keras.Model from images (B, H, W, channels), float in [-1, 1], to class
        probabilities (B, H, W, num_classes), float32 whatever the precision policy.

    Raises:
        UserError: for a size, class count or backbone that the network can't have.
    """
    check_input_shape(input_shape, backbone)
    check_num_classes(num_classes)
    check_decoder_width(decoder_width)
    check_decoder_norm(decoder_norm)
    check_upsampling(upsampling)
    inputs = x = keras.Input(input_shape, name="image")
    if unit_range:
        x = layers.Rescaling(0.5, 0.5, name="image_unit_range")(x)
    encoder, given = BACKBONES[backbone], {"stride_in_3x3": stride_in_3x3}
    padded = any(any_size if side is None else side % encoder.stride for side in input_shape[:2])
    if padded:
        x = PadToStride(encoder.stride, name="image_pad")(x)
    options = {name: given[name] for name in encoder.options}
    *skips, x = encoder.build(x, width, encoder_initializer, **options)
    widenings = DECODER_WIDENING[: encoder.stages]
    decoder_width = decoder_width or encoder.decoder_width(width)
    for stage, (widening, skip) in enumerate(zip_longest(widenings, reversed(skips)), start=1):
        filters, name = decoder_width * widening, f"decoder{stage}"
        x = _decoder_stage(
            x, skip, filters, name, upsampling, decoder_norm, fused, decoder_initializer
        )
    if padded:
        x = CropLike(name="decoder_crop")([x, inputs])
    # float32 logits: bfloat16 keeps 8 bits, too few to tell close classes apart.
    x = layers.Conv2D(
        num_classes, 1, dtype="float32", kernel_initializer=head_initializer, name="head_conv"
    )(x)
    if excluded:
        x = ExcludeClasses(num_classes, excluded, dtype="float32", name="head_exclude")(x)
    outputs = layers.Softmax(dtype="float32", name="head_softmax")(x)
    return keras.Model(inputs, outputs, name=f"unet_{backbone}")


def small_head():
    """An initializer for a new head on trained features: a tenth of Keras' default.

    It then says about the same of each class, whatever the size of the features, and training
    starts from the loss of knowing nothing. A network from scratch does so anyway, and learns
    faster with the default.
    """
    return keras.initializers.VarianceScaling(0.01, "fan_avg", "uniform")


def build(description, size=(None, None), **options):
    """Builds the network that a `nets.weights.description.Description` describes.

    Args:
        description: Description.
        size: (height, width) of the images, or None for any.
        **options: more arguments of `Unet`.
    """
    return Unet(
        (*size, description.in_channels),
        description.num_classes,
        description.backbone,
        width=description.width,
        decoder_width=description.decoder_width,
        decoder_norm=description.decoder_norm,
        upsampling=description.upsampling,
        unit_range=description.unit_range,
        stride_in_3x3=description.stride_in_3x3,
        excluded=ignored_classes(description.ignore_labels, description.num_classes),
        **options,
    )


def build_blank(description, size=(None, None), **options):
    """As `build`, for weights that are loaded then: the convolutions' are zeros, since drawing 25
    million random numbers takes longer than reading them."""
    parts = ("encoder_initializer", "decoder_initializer", "head_initializer")
    return build(description, size, **dict.fromkeys(parts, "zeros"), **options)


def _decoder_stage(x, skip, filters, name, upsampling, norm, fused, initializer):
    """Upsamples, concatenates the skip if there is one, and convolves twice."""
    options = {
        "kernel_initializer": initializer,
        "activation": "relu" if norm == "none" else "linear",
    }
    if upsampling == "nearest":  # the next three layers as one
        inputs = x if skip is None else [skip, x]
        x = UpsampledConv2D(filters, name=f"{name}_conv1", fused=fused, **options)(inputs)
    else:
        x = AlignedUpSampling2D(name=f"{name}_upsample")(x)
        if skip is not None:
            x = layers.Concatenate(name=f"{name}_concat")([skip, x])
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv1", **options)(x)
    x = _normalize(x, norm, name, 1)
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv2", **options)(x)
    return _normalize(x, norm, name, 2)


def _normalize(x, norm, name, index):
    """Normalizes and applies ReLU, unless `norm` is "none"."""
    if norm == "none":
        return x
    if norm == "batch":
        x = layers.BatchNormalization(name=f"{name}_norm{index}")(x)
    else:
        groups = math.gcd(_GROUPS, x.shape[-1])
        x = layers.GroupNormalization(groups, name=f"{name}_norm{index}")(x)
    return layers.Activation("relu", name=f"{name}_relu{index}")(x)


def set_encoder_trainable(model, trainable, backbone="vgg"):
    """Freezes or unfreezes the encoder, found by layer name.

    Batch normalization in a frozen encoder uses its stored statistics and leaves them as they
    are: Keras does so with any that is not trainable.

    Differs from upstream, which counts layers and leaves the encoder's last ones trainable.

    Returns:
        list of str: the names of the encoder's layers that have weights.
    """
    check_backbone(backbone)
    prefixes = BACKBONES[backbone].layer_prefixes
    encoder = [layer for layer in model.layers if layer.name.startswith(prefixes)]
    for layer in encoder:
        layer.trainable = trainable
    return [layer.name for layer in encoder if layer.weights]
