"""The encoders by name: one record each, which is all that the rest knows of them.

A new encoder is one file in `nets/encoders/` and one entry here. Needs no Keras, so settings are
checked at once.
"""

import math
from dataclasses import dataclass
from importlib import import_module

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
        md5: str, its hash; "": not checked.
    """

    name: str
    url: str
    megabytes: int
    pattern: str = ""
    md5: str = ""


@dataclass(frozen=True)
class Backbone:
    """An encoder.

    Attributes:
        encoder: str, module and name of the function that builds it.
        stride: int; image sizes are multiples of it.
        first_layer: str, its first convolution, which tells it from the others in a file.
        layer_prefixes: every layer of the encoder, and no other, is named with one of these.
        keras, torchvision: `ImageNetFile` of Keras, without top, and of torchvision.
        options: arguments of its own, which `nets.unet.Unet` passes on.
        unit_size: bool, whether its ImageNet features are scaled, since it does not normalize.
    """

    encoder: str
    stride: int
    first_layer: str
    layer_prefixes: tuple[str, ...]
    keras: ImageNetFile
    torchvision: ImageNetFile
    options: tuple[str, ...] = ()
    unit_size: bool = False

    @property
    def stages(self):
        """int, how often it halves the image, and how many stages the decoder has."""
        return int(math.log2(self.stride))

    def build(self, *args, **options):
        """Adds the encoder to an image tensor; returns its five feature maps."""
        module, name = self.encoder.rsplit(".", 1)
        return getattr(import_module(module), name)(*args, **options)


BACKBONES = {
    "vgg": Backbone(
        encoder="nets.encoders.vgg16.VGG16",
        stride=16,
        first_layer="block1_conv1",
        layer_prefixes=("block",),
        keras=ImageNetFile(
            "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            f"{_KERAS_URL}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            megabytes=59,
            md5="6d6bbae143d832006294945121d1f1fc",
        ),
        torchvision=ImageNetFile(
            "vgg16-397923af.pth", f"{_TORCH_URL}/vgg16-397923af.pth", 553, "vgg16-*.pth"
        ),
        unit_size=True,
    ),
    "resnet50": Backbone(
        encoder="nets.encoders.resnet50.ResNet50",
        stride=32,
        first_layer="conv1",
        layer_prefixes=("conv1", "pool1", "res", "bn"),
        keras=ImageNetFile(
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            f"{_KERAS_URL}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            megabytes=95,
            md5="4d473c1dd8becc155b73f8504c6f6626",
        ),
        torchvision=ImageNetFile(
            "resnet50-0676ba61.pth", f"{_TORCH_URL}/resnet50-0676ba61.pth", 103, "resnet50-*.pth"
        ),
        options=("stride_in_3x3",),
    ),
}


def find_backbone(layers):
    """The name of the backbone whose first layer is among these names; None if there is none."""
    found = (name for name, backbone in BACKBONES.items() if backbone.first_layer in layers)
    return next(found, None)
