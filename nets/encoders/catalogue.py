"""The encoders of Keras by name, and their files of ImageNet weights. Needs no Keras.

Which encoders serve, and what stands here of them, is what `nets.encoders.keras_graph` finds in
their graphs, and what Keras downloads; tests compare both.
"""

from dataclasses import dataclass

FIRST = "encoder_first_conv"  # the layer that takes the image, in all of these encoders
_SERVER = "https://storage.googleapis.com"


@dataclass(frozen=True)
class Entry:
    """An encoder of Keras.

    Attributes:
        application: str, its name in `keras.applications`; in lower case, that of the backbone.
        first_filters: int, of its first convolution.
        megabytes: int, of its file of ImageNet weights without top: four bytes a weight.
        work: int, thousands of multiply-adds that the U-Net with it needs for a pixel.
        path: str, where Keras' server has the file.
        hash: str, what Keras compares it with, MD5 or SHA-256; "": nothing.
        stride: int, the image's size in units of that of its coarsest features.
        normalizes: bool, whether it has batch or layer normalization.
    """

    application: str
    first_filters: int
    megabytes: int
    work: int
    path: str
    hash: str = ""
    stride: int = 32
    normalizes: bool = True

    @property
    def url(self):
        """str, where the file is downloaded."""
        folder = "tensorflow/keras-applications" if "/" in self.path else "keras-applications"
        return f"{_SERVER}/{folder}/{self.path}"


# fmt: off
ENTRIES = (
    Entry("VGG19", 64, 80, 943, "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
          "253f8cb515780f3b799900260a226db6", stride=16, normalizes=False),
    Entry("ResNet101", 64, 171, 419, "resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5",
          "88cf7a10940856eca736dc7b7e228a21"),
    Entry("ResNet152", 64, 233, 493, "resnet/resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5",
          "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    Entry("ResNet50V2", 64, 94, 338,
          "resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
          "fac2f116257151a9d068a22e544a4917"),
    Entry("ResNet101V2", 64, 171, 412,
          "resnet/resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
          "c0ed64b8031c3730f411d2eb4eea35b5"),
    Entry("ResNet152V2", 64, 233, 486,
          "resnet/resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
          "ed17cf2e0169df9d443503ef94b23b33"),
    Entry("DenseNet121", 64, 28, 307,
          "densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
          "30ee3e1110167f948a6b9946edeeb738"),
    Entry("DenseNet169", 64, 51, 333,
          "densenet/densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5",
          "b8c4d4c20dd625c148057b9ff1c1176b"),
    Entry("DenseNet201", 64, 73, 366,
          "densenet/densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5",
          "c13680b51ded0fb44dff2d8f86ac8bb1"),
    Entry("MobileNet", 32, 13, 81, "mobilenet/mobilenet_1_0_224_tf_no_top.h5"),
    Entry("MobileNetV2", 32, 9, 80,
          "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
    Entry("MobileNetV3Small", 16, 4, 18,
          "mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
          "d3e8ec802a04aa4fc771ee12a9a9b836"),
    Entry("MobileNetV3Large", 16, 12, 28,
          "mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
          "07fb09a5933dd0c8eaafa16978110389"),
    Entry("EfficientNetB0", 32, 16, 84, "efficientnetb0_notop.h5",
          "50bc09e76180e00e4465e1a485ddc09d"),
    Entry("EfficientNetB1", 32, 26, 87, "efficientnetb1_notop.h5",
          "74c4e6b3e1f6a1eea24c589628592432"),
    Entry("EfficientNetB2", 32, 31, 92, "efficientnetb2_notop.h5",
          "111f8e2ac8aa800a7a99e3239f7bfb39"),
    Entry("EfficientNetB3", 40, 43, 139, "efficientnetb3_notop.h5",
          "af6d107764bb5b1abb91932881670226"),
    Entry("EfficientNetB4", 48, 71, 196, "efficientnetb4_notop.h5",
          "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    Entry("EfficientNetB5", 48, 114, 222, "efficientnetb5_notop.h5",
          "38879255a25d3c92d5e44e04ae6cec6f"),
    Entry("EfficientNetB6", 56, 164, 303, "efficientnetb6_notop.h5",
          "9ecce42647a20130c1f39a5d4cb75743"),
    Entry("EfficientNetB7", 64, 256, 406, "efficientnetb7_notop.h5",
          "cbcfe4450ddf6f3ad90b1b398090fe4a"),
    Entry("EfficientNetV2B0", 32, 24, 80, "efficientnet_v2/efficientnetv2-b0_notop.h5",
          "893217f2bb855e2983157299931e43ff"),
    Entry("EfficientNetV2B1", 32, 28, 86, "efficientnet_v2/efficientnetv2-b1_notop.h5",
          "0e80663031ca32d657f9caa404b6ec37"),
    Entry("EfficientNetV2B2", 32, 35, 91, "efficientnet_v2/efficientnetv2-b2_notop.h5",
          "1dfe2e7a5d45b6632553a8961ea609eb"),
    Entry("EfficientNetV2B3", 40, 52, 132, "efficientnet_v2/efficientnetv2-b3_notop.h5",
          "f6abf7b5849ac99a89b50dd3fd532856"),
    Entry("EfficientNetV2S", 24, 81, 102, "efficientnet_v2/efficientnetv2-s_notop.h5",
          "af0682fb74e8c54910f2d4393339c070"),
    Entry("EfficientNetV2M", 24, 213, 153, "efficientnet_v2/efficientnetv2-m_notop.h5",
          "1b8dc055df72dde80d614482840fe342"),
    Entry("EfficientNetV2L", 32, 471, 321, "efficientnet_v2/efficientnetv2-l_notop.h5",
          "b0b66b5c863aef5b46e8608fe1711615"),
    Entry("ConvNeXtTiny", 96, 111, 291, "convnext/convnext_tiny_notop.h5",
          "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1"),
    Entry("ConvNeXtSmall", 96, 198, 375, "convnext/convnext_small_notop.h5",
          "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab"),
    Entry("ConvNeXtBase", 128, 350, 519, "convnext/convnext_base_notop.h5",
          "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45"),
    Entry("ConvNeXtLarge", 192, 785, 921, "convnext/convnext_large_notop.h5",
          "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd"),
    Entry("ConvNeXtXLarge", 256, 1393, 1473, "convnext/convnext_xlarge_notop.h5",
          "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05"),
)
# fmt: on

# Encoders of Keras that can't serve: {backbone: (layer, height that it makes of 256 pixels)}.
UNFIT = {
    "inceptionresnetv2": ("conv2d", 127),
    "inceptionv3": ("conv2d", 127),
    "nasnetlarge": ("stem_conv1", 127),
    "nasnetmobile": ("stem_conv1", 127),
    "xception": ("block1_conv1", 127),
}
