"""The same network as other programs build it, for tests of their weights files."""


def keras_2_unet(keras, num_classes, backbone, width=4, in_channels=3):
    """unet-keras' network. Its decoder's layers have no names of their own.

    Args:
        keras: the module tf_keras.
    """
    layers = keras.layers
    inputs = keras.Input((None, None, in_channels))
    *skips, x = {"vgg": _keras_2_vgg, "resnet50": _keras_2_resnet}[backbone](layers, inputs, width)
    for skip, filters in zip(reversed(skips), (8, 4, 2, 1), strict=True):
        x = layers.Concatenate(axis=3)([skip, layers.UpSampling2D((2, 2))(x)])
        for _ in range(2):
            x = layers.Conv2D(width * filters, 3, activation="relu", padding="same")(x)
    if backbone == "resnet50":
        x = layers.UpSampling2D((2, 2))(x)
        for _ in range(2):
            x = layers.Conv2D(width, 3, activation="relu", padding="same")(x)
    return keras.Model(inputs, layers.Conv2D(num_classes, 1, activation="softmax")(x))


def _keras_2_vgg(layers, x, width):
    features = []
    for block, (count, filters) in enumerate(((2, 1), (2, 2), (3, 4), (3, 8), (3, 8)), start=1):
        for index in range(1, count + 1):
            name = f"block{block}_conv{index}"
            x = layers.Conv2D(
                width * filters, (3, 3), activation="relu", padding="same", name=name
            )(x)
        features.append(x)
        x = layers.MaxPooling2D((2, 2), strides=(2, 2), name=f"block{block}_pool")(x)
    return features


def _keras_2_resnet(layers, x, width):
    def convolve(x, filters, size, name, **options):
        x = layers.Conv2D(filters, size, name=f"res{name}", **options)(x)
        return layers.BatchNormalization(name=f"bn{name}")(x)

    def block(x, filters, stage, letter, strides):
        name = f"{stage}{letter}_branch"
        y = layers.Activation("relu")(convolve(x, filters, 1, f"{name}2a", strides=strides))
        y = layers.Activation("relu")(convolve(y, filters, 3, f"{name}2b", padding="same"))
        y = convolve(y, 4 * filters, 1, f"{name}2c")
        if letter == "a":
            x = convolve(x, 4 * filters, 1, f"{name}1", strides=strides)
        return layers.Activation("relu")(layers.add([y, x]))

    x = layers.Conv2D(width, 7, strides=2, name="conv1")(layers.ZeroPadding2D(3)(x))
    x = layers.Activation("relu")(layers.BatchNormalization(name="bn_conv1")(x))
    features = [x]
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    for stage, (letters, filters) in enumerate(
        (("abc", 1), ("abcd", 2), ("abcdef", 4), ("abc", 8)), start=2
    ):
        for letter in letters:
            strides = 2 if letter == "a" and stage > 2 else 1
            x = block(x, width * filters, stage, letter, strides)
        features.append(x)
    return features


def torch_unet(num_classes, width=4):
    """unet-pytorch's network with VGG16: torch.nn.Module from (B, 3, H, W) in [0, 1] to logits."""
    from torch import nn

    modules, channels = [], 3
    for count, filters in ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8)):
        for _ in range(count):
            modules += [nn.Conv2d(channels, width * filters, 3, padding=1), nn.ReLU()]
            channels = width * filters
        modules.append(nn.MaxPool2d(2))
    ends = (4, 9, 16, 23, 30)  # of the stages, in `modules`

    class Up(nn.Module):
        def __init__(self, before, after):
            super().__init__()
            self.conv1 = nn.Conv2d(before, after, 3, padding=1)
            self.conv2 = nn.Conv2d(after, after, 3, padding=1)
            self.up = nn.UpsamplingBilinear2d(scale_factor=2)

        def forward(self, skip, x):
            x = torch.cat([skip, self.up(x)], 1)
            return torch.relu(self.conv2(torch.relu(self.conv1(x))))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.vgg = nn.Module()
            self.vgg.features = nn.Sequential(*modules)
            self.up_concat1 = Up(3 * width, width)
            self.up_concat2 = Up(6 * width, 2 * width)
            self.up_concat3 = Up(12 * width, 4 * width)
            self.up_concat4 = Up(16 * width, 8 * width)
            self.final = nn.Conv2d(width, num_classes, 1)

        def forward(self, x):
            features, start = [], 0
            for end in ends:
                x = self.vgg.features[start:end](x) if end < 30 else self.vgg.features[23:-1](x)
                features.append(x)
                start = end
            x = features.pop()
            for up in (self.up_concat4, self.up_concat3, self.up_concat2, self.up_concat1):
                x = up(features.pop(), x)
            return self.final(x)

    import torch

    return Network()
