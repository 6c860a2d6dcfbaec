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


def torchvision_network(backbone):
    """torchvision's VGG16 or ResNet50, with its names, and a short classifier.

    Returns:
        (torch.nn.Module, list that a call fills with the outputs that tests look at).
    """
    import torch

    nn, outputs = torch.nn, []

    def keep(_, __, output):
        outputs.append(output)

    if backbone == "vgg":
        modules, channels = [], 3
        for block, (count, filters) in enumerate(
            ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), start=1
        ):
            for index in range(1, count + 1):
                modules += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
                channels = filters
                if (block, index) in ((1, 1), (2, 2), (4, 3)):
                    modules[-1].register_forward_hook(keep)
            modules.append(nn.MaxPool2d(2, 2))
        network = nn.ModuleDict({"features": nn.Sequential(*modules)})
        network["classifier"] = nn.Sequential(*[nn.Identity()] * 6, nn.Linear(1, 1000))
        network.forward = network["features"].forward
        return network, outputs

    class Bottleneck(nn.Module):
        def __init__(self, channels, filters, stride, shortcut):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, filters, 1, bias=False)
            self.conv2 = nn.Conv2d(filters, filters, 3, stride, padding=1, bias=False)
            self.conv3 = nn.Conv2d(filters, 4 * filters, 1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(filters), nn.BatchNorm2d(filters)
            self.bn3 = nn.BatchNorm2d(4 * filters)
            self.downsample = nn.Identity()
            if shortcut:
                convolution = nn.Conv2d(channels, 4 * filters, 1, stride, bias=False)
                self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(4 * filters))

        def forward(self, x):
            y = torch.relu(self.bn1(self.conv1(x)))
            y = torch.relu(self.bn2(self.conv2(y)))
            return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
            self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
            channels = 64
            for stage, (count, filters) in enumerate(
                ((3, 64), (4, 128), (6, 256), (3, 512)), start=1
            ):
                blocks = []
                for block in range(count):
                    stride = 2 if stage > 1 and block == 0 else 1
                    blocks.append(Bottleneck(channels, filters, stride, block == 0))
                    channels = 4 * filters
                setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            self.fc = nn.Linear(1, 1000)

        def forward(self, x):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    network = ResNet()
    for module in (network.relu, network.layer1, network.layer2, network.layer3):
        module.register_forward_hook(keep)
    return network, outputs


def randomize(network, rng):
    """Gives a PyTorch network's normalizations and biases values that matter."""
    import torch

    for name, tensor in network.state_dict().items():
        if "running_var" in name:  # small ones, where the epsilons count
            tensor.copy_(torch.tensor(rng.uniform(1e-2, 2, tensor.shape)))
        elif "running_mean" in name or name.endswith("bias"):
            tensor.copy_(torch.tensor(rng.normal(0, 0.1, tensor.shape)))
        elif tensor.ndim == 4:
            size = (2 / tensor[0].numel()) ** 0.5
            tensor.copy_(torch.tensor(rng.normal(0, size, tensor.shape)))
        elif name.endswith("weight") and tensor.ndim == 1:
            tensor.copy_(torch.tensor(rng.uniform(0.3, 1, tensor.shape)))
