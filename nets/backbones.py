"""The encoders by name: one record each, which is all that the rest knows of them.

`vgg` and `resnet50` are this project's own, one file each in `nets/encoders/`. All others are
Keras': a new one there is one line in `nets/encoders/catalogue.py`. Needs no Keras, so settings are
checked at once.
"""

import math
from dataclasses import dataclass
from importlib import import_module

from nets.encoders import catalogue
from nets.encoders.widths import FULL, scaled

_KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications"
_TORCH_URL = "https://download.pytorch.org/models"


@dataclass(frozen=True)
class ImageNetFile:
    """A file of ImageNet weights.

    Attributes:
        name: str.
        url: str, where it is downloaded.
        megabytes: int.
        pattern: str, what the names of its other versions match.
        hash: str, its MD5 or SHA-256; "": not checked.
    """

    name: str
    url: str
    megabytes: int
    pattern: str = ""
    hash: str = ""


@dataclass(frozen=True)
class Backbone:
    """An encoder.

    Attributes:
        encoder: str, module within `nets` and name of the function that builds it.
        stride: int; images of other sizes than multiples of it are padded to them.
        first_layer: str, its first convolution, which takes the image.
        layer_prefixes: every layer of the encoder, and no other, is named with one of these.
        keras: `ImageNetFile` of Keras, without top.
        torchvision: `ImageNetFile` of torchvision; None: none of its files can be read.
        options: arguments of its own, which `nets.unet.Unet` passes on.
        unit_size: bool, whether its ImageNet features are scaled, since it does not normalize.
        first_filters: int, of its first convolution at full width.
        work: int, thousands of multiply-adds that the U-Net with it needs for a pixel, at full
            width, with its usual decoder and 21 classes.
        application: str, what it is in `keras.applications`; "": an encoder of this project's.
    """

    encoder: str
    stride: int
    first_layer: str
    layer_prefixes: tuple[str, ...]
    keras: ImageNetFile
    work: int
    torchvision: ImageNetFile | None = None
    options: tuple[str, ...] = ()
    unit_size: bool = False
    first_filters: int = FULL
    application: str = ""

    @property
    def stages(self):
        """int, how often it halves the image; as many stages halve it back in the decoder, one
        more than it has skips, or as many where a skip has the image's size."""
        return int(math.log2(self.stride))

    def build(self, *args, **options):
        """Adds the encoder to an image tensor; returns its feature maps, the finest first."""
        if self.application:
            options["application"] = self.application
        module, name = self.encoder.rsplit(".", 1)
        return getattr(import_module(f".{module}", __package__), name)(*args, **options)

    def decoder_width(self, width):
        """The filters of the decoder's last stage, unless a setting says others.

        As many as the encoder's first convolution has: 64 for VGG16 and ResNet50, as in the
        article, 16 for MobileNetV3. So a light encoder has a light decoder. 64 at most.
        """
        return scaled(min(self.first_filters, FULL), width)


def _of_keras(entry):
    """The record of an encoder of Keras."""
    name = entry.path.rsplit("/", 1)[-1]
    file = ImageNetFile(name, entry.url, entry.megabytes, hash=entry.hash)
    return Backbone(
        encoder="encoders.keras_encoder.KerasEncoder",
        stride=entry.stride,
        first_layer=catalogue.FIRST,
        layer_prefixes=("encoder",),
        keras=file,
        work=entry.work,
        unit_size=not entry.normalizes,
        first_filters=entry.first_filters,
        application=entry.application,
    )


BACKBONES = {
    "vgg": Backbone(
        encoder="encoders.vgg16.VGG16",
        stride=16,
        first_layer="block1_conv1",
        layer_prefixes=("block",),
        keras=ImageNetFile(
            "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            f"{_KERAS_URL}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            megabytes=59,
            hash="6d6bbae143d832006294945121d1f1fc",
        ),
        work=860,
        torchvision=ImageNetFile(
            "vgg16-397923af.pth", f"{_TORCH_URL}/vgg16-397923af.pth", 553, "vgg16-*.pth"
        ),
        unit_size=True,
    ),
    "resnet50": Backbone(
        encoder="encoders.resnet50.ResNet50",
        stride=32,
        first_layer="conv1",
        layer_prefixes=("conv1", "pool1", "res", "bn"),
        keras=ImageNetFile(
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            f"{_KERAS_URL}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            megabytes=95,
            hash="4d473c1dd8becc155b73f8504c6f6626",
        ),
        work=345,
        torchvision=ImageNetFile(
            "resnet50-0676ba61.pth", f"{_TORCH_URL}/resnet50-0676ba61.pth", 103, "resnet50-*.pth"
        ),
        options=("stride_in_3x3",),
    ),
} | {entry.application.lower(): _of_keras(entry) for entry in catalogue.ENTRIES}


def backbone_of_file(name):
    """The name of the backbone whose ImageNet weights Keras keeps under this file name; or None."""
    return next((key for key, one in BACKBONES.items() if one.keras.name == name), None)


def find_backbone(layers):
    """The name of this project's own backbone whose first layer is among these names.

    Those of Keras share the name of their first layer: their weights files say which it is.

    Returns:
        str; None if there is none.
    """
    own = {name: one for name, one in BACKBONES.items() if not one.application}
    return next((name for name, one in own.items() if one.first_layer in layers), None)
