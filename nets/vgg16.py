"""The VGG16 encoder, where the article and upstream have it; see `nets.encoders.vgg16`."""

from nets.encoders.vgg16 import VGG16

__all__ = ["VGG16"]
