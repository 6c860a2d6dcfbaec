"""ImageNet weights as start weights: the features of Keras and torchvision, of unit size."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tf_keras
import torch
from other_networks import keras_2_unet, randomize, torchvision_network
from PIL import Image
from stand_ins import KERAS_FILES

from errors import UserError
from nets.unet import Unet, small_head
from nets.weights.description import Stored
from nets.weights.feature_sizes import scale_vgg16
from nets.weights.imagenet import adapt_keras
from nets.weights.imagenet_files import find_local
from nets.weights.storage import DIFFERS, NOT_IN_FILE, NOT_IN_MODEL, load_weights, open_weights

# Layers in Keras' network: the layer here, and how many pixels at the border of its output see
# padding, which counts half of each kernel so far times the stride it is at.
FEATURES = {
    "vgg": {
        "block1_conv1": ("block1_conv1", 1),
        "block1_conv2": ("block1_conv2", 2),
        "block2_conv2": ("block2_conv2", 4),
        "block3_conv3": ("block3_conv3", 6),
        "block4_conv3": ("block4_conv3", 7),
        "block5_conv3": ("block5_conv3", 8),
    },
    "resnet50": {
        "conv1_relu": ("conv1_relu", 2),
        "conv2_block3_out": ("res2c_out", 6),
        "conv3_block4_out": ("res3d_out", 9),
        "conv4_block6_out": ("res4f_out", 11),
    },
}


def keras_network(backbone, rng):
    """Keras' own, without top, with random weights of ImageNet's layout."""
    module = {"vgg": tf_keras.applications.VGG16, "resnet50": tf_keras.applications.ResNet50}
    model = module[backbone](weights=None, include_top=False)
    for layer in model.layers:
        weights = layer.get_weights()
        if len(weights) == 2:
            kernel, bias = weights
            # ImageNet's first kernels take values of hundreds to a few.
            size = (2 / np.prod(kernel.shape[:3])) ** 0.5 / (60 if kernel.shape[2] == 3 else 1)
            bias = rng.normal(0, 0.1, bias.shape)
            layer.set_weights([rng.normal(0, size, kernel.shape), bias])
        elif weights:
            shape = weights[0].shape
            tiny = rng.uniform(1e-4, 2, shape)  # where the epsilons count
            values = rng.uniform(0.3, 1, shape), rng.normal(0, 0.1, shape)
            layer.set_weights([*values, rng.normal(0, 0.3, shape), tiny])
    return model


def unit_factors(theirs, backbone):
    """What VGG16's features are multiplied by, found from its weights for BGR minus means."""
    if backbone != "vgg":
        return {}
    layers = {layer.name: layer.get_weights() for layer in theirs.layers if layer.get_weights()}
    kernel, bias = layers["block1_conv1"]
    kernel = 127.5 * kernel[:, :, ::-1].astype(np.float64)
    offset = 127.5 - np.array([123.68, 116.779, 103.939])  # of R, G, B
    bias = bias + (kernel * offset[:, None] / 127.5).sum(axis=(0, 1, 2))
    layers["block1_conv1"] = [kernel.astype(np.float32), bias.astype(np.float32)]
    return scale_vgg16(layers)


@pytest.fixture
def model_data(tmp_path, monkeypatch):
    """Works in an empty folder that has a model_data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_data").mkdir()
    return tmp_path / "model_data"


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["vgg", "resnet50"])
def test_features_are_those_of_keras(backbone, model_data, rng):
    theirs = keras_network(backbone, rng)
    theirs.save_weights(model_data / KERAS_FILES[backbone])
    size = 448
    ours = Unet((size, size, 3), 2, backbone)
    stored = open_weights("imagenet", backbone)
    assert stored.kind == "ImageNet weights of Keras" and stored.is_pretrained
    report = load_weights(ours, stored, allow_mismatch=True)
    assert (report.layers(NOT_IN_MODEL), report.layers(DIFFERS), report.unexpected) == ([], [], [])
    assert all(name.startswith(("decoder", "head")) for name in report.layers(NOT_IN_FILE))

    coarse = rng.uniform(0, 255, (1, 28, 28, 3)).astype("float32")
    image = np.rint(np.kron(coarse, np.ones((1, 16, 16, 1))))[:, :size, :size]
    module = {"vgg": tf_keras.applications.vgg16, "resnet50": tf_keras.applications.resnet50}
    theirs_in = module[backbone].preprocess_input(image.copy())
    names = FEATURES[backbone]
    outputs = [theirs.get_layer(name).output for name in names]
    expected = tf_keras.Model(theirs.inputs, outputs).predict_on_batch(theirs_in)
    outputs = [ours.get_layer(name).output for name, _ in names.values()]
    found = keras.Model(ours.inputs, outputs).predict_on_batch(image / 127.5 - 1)
    for (name, margin), one, other in zip(names.values(), expected, found, strict=True):
        one = one * unit_factors(theirs, backbone).get(name, 1)
        inner = np.s_[:, margin:-margin, margin:-margin]
        assert one[inner].size and one[inner].std() > 0.01, name
        assert np.abs(other[inner] - one[inner]).max() <= 1e-3 * np.abs(one[inner]).max(), name
        # At the border zeros mean something else; were it equal, the test would see nothing.
        assert np.abs(other - one).max() > 1e-3 * np.abs(one).max(), name


def test_keras_first_resnet_keeps_its_epsilon(tmp_path, rng):
    """Its layers were named as here, and normalized with the default epsilon."""
    theirs = keras_2_unet(tf_keras, 2, "resnet50")
    encoder = tf_keras.Model(theirs.inputs, theirs.get_layer("bn5c_branch2c").output)
    path = tmp_path / KERAS_FILES["resnet50"]
    encoder.save_weights(path)
    gamma = encoder.get_layer("bn3a_branch1").get_weights()[0]
    np.testing.assert_array_equal(open_weights(path).layers["bn3a_branch1"][0], gamma)


def test_the_first_convolution_by_hand():
    """One pixel, one filter: black is -1 here, and minus the means there; white 1 and more."""
    kernel = np.array([1.0, 10.0, 100.0], "float32").reshape(1, 1, 3, 1)  # of B, G, R
    layers = {"conv1": [kernel, np.array([7.0], "float32")]}
    ((adapted, bias),) = adapt_keras(Stored("x", "", layers)).layers.values()
    assert adapted.ravel().tolist() == [12750.0, 1275.0, 127.5]  # of R, G, B
    black = 7 + 1 * -103.939 + 10 * -116.779 + 100 * -123.68
    white = black + 255 * 111
    assert bias[0] - adapted.sum() == pytest.approx(black, rel=1e-6)
    assert bias[0] + adapted.sum() == pytest.approx(white, rel=1e-6)


def test_a_file_of_that_name_with_another_network_is_refused(tmp_path):
    path = tmp_path / KERAS_FILES["vgg"]
    keras_2_unet(tf_keras, 2, "vgg").save_weights(path)
    with pytest.raises(UserError, match="named as Keras' ImageNet weights, but holds another"):
        open_weights(path)


def test_an_encoder_alone_can_not_predict(tmp_path):
    import unet

    theirs = keras_2_unet(tf_keras, 2, "vgg")
    path = tmp_path / KERAS_FILES["vgg"]
    tf_keras.Model(theirs.inputs, theirs.get_layer("block5_conv3").output).save_weights(path)
    with pytest.raises(UserError, match=r"holds an encoder alone .* Train first: python train\.py"):
        unet.Unet(path)


@pytest.mark.parametrize("drop", ["block5_conv3", "block1_conv2"])
def test_a_file_of_that_name_that_lacks_a_layer_is_refused(tmp_path, drop):
    path = tmp_path / KERAS_FILES["vgg"]
    theirs = keras_2_unet(tf_keras, 2, "vgg")
    tf_keras.Model(theirs.inputs, theirs.get_layer("block5_conv3").output).save_weights(path)
    with h5py.File(path, "a") as file:
        names = [name for name in file.attrs["layer_names"] if name != drop]
        file.attrs["layer_names"] = names
    with pytest.raises(UserError, match="named as Keras' ImageNet weights, but holds another"):
        open_weights(path)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["vgg", "resnet50"])
def test_features_are_those_of_torchvision(backbone, model_data, rng):
    """Its own network in PyTorch, on [0, 1] RGB minus means and divided by deviations."""
    theirs, outputs = torchvision_network(backbone)
    randomize(theirs, rng)
    path = model_data / {"vgg": "vgg16-397923af.pth", "resnet50": "resnet50-0676ba61.pth"}[backbone]
    torch.save(theirs.state_dict(), path)
    stored = open_weights("imagenet", backbone)
    assert stored.kind == "ImageNet weights of torchvision" and stored.is_pretrained
    facts = {name: value for name, value in stored.infer().items() if name == "stride_in_3x3"}
    assert facts == ({"stride_in_3x3": True} if backbone == "resnet50" else {})
    size = 256
    ours = Unet((size, size, 3), 2, backbone, **facts)
    report = load_weights(ours, stored, allow_mismatch=True)
    assert (report.layers(NOT_IN_MODEL), report.layers(DIFFERS), report.unexpected) == ([], [], [])

    coarse = rng.uniform(0, 255, (1, 16, 16, 3)).astype("float32")
    image = np.rint(np.kron(coarse, np.ones((1, 16, 16, 1))))
    normalized = (image / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    with torch.no_grad():
        theirs.eval()(torch.tensor(normalized.transpose(0, 3, 1, 2), dtype=torch.float32))
    names = {
        "vgg": ["block1_conv1", "block2_conv2", "block4_conv3"],
        "resnet50": ["conv1_relu", "res2c_out", "res3d_out", "res4f_out"],
    }[backbone]
    model = keras.Model(ours.inputs, [ours.get_layer(name).output for name in names])
    found = model.predict_on_batch(image / 127.5 - 1)
    for name, expected, values in zip(names, outputs, found, strict=True):
        margin = {"block1_conv1": 1, "block2_conv2": 4, "block4_conv3": 7}.get(name)
        margin = margin or {"conv1_relu": 2, "res2c_out": 6, "res3d_out": 7}.get(name, 6)
        inner = np.s_[:, margin:-margin, margin:-margin]
        expected = expected.numpy().transpose(0, 2, 3, 1)[inner]
        values = values[inner]
        factor = np.median(values[expected > 0] / expected[expected > 0])
        assert backbone == "vgg" or factor == pytest.approx(1, rel=1e-4), name
        assert expected.size and expected.std() > 0.01, name
        assert np.abs(values - factor * expected).max() <= 1e-3 * np.abs(values).max(), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("vgg16_bn", "holds a VGG with batch normalization. Expected vgg16-397923af.pth"),
        ("vgg19", "holds a VGG with other layers than VGG16's. Expected vgg16-397923af.pth"),
        ("caffe", "holds VGG16's features for other colours. Expected vgg16-397923af.pth"),
        ("resnet18", "holds a ResNet with other layers than ResNet50's. Expected"),
        ("resnext50", "holds a ResNet with other layers than ResNet50's. Expected"),
    ],
)
def test_other_networks_of_torchvision_are_refused(change, message, model_data):
    backbone = "vgg" if change in ("vgg16_bn", "vgg19", "caffe") else "resnet50"
    network, _ = torchvision_network(backbone)
    state = network.state_dict()
    if change == "vgg16_bn":
        state["features.1.running_mean"] = torch.zeros(64)
    elif change == "vgg19":
        state["features.30.weight"] = state["features.30.bias"] = torch.zeros(512)
    elif change == "caffe":
        state["classifier.6.bias"] = torch.full((1000,), torch.nan)
    elif change == "resnet18":
        state = {name: value for name, value in state.items() if "conv3" not in name}
    else:
        state["layer1.0.conv1.weight"] = torch.zeros(128, 64, 1, 1)
    path = model_data / {"vgg": "vgg16-397923af.pth", "resnet50": "resnet50-0676ba61.pth"}[backbone]
    torch.save(state, path)
    with pytest.raises(UserError, match=message) as caught:
        open_weights("imagenet", backbone)
    assert str(path.name) in str(caught.value) and "\n" not in str(caught.value)


def test_a_whole_network_under_the_name_of_imagenet_is_refused(model_data):
    torch.save({"vgg.features.0.weight": torch.zeros(8, 3, 3, 3)}, model_data / "vgg16-x.pth")
    with pytest.raises(UserError, match="named as ImageNet weights, but holds unet-pytorch"):
        open_weights("imagenet", "vgg")


@pytest.mark.real_data
def test_the_real_features_are_of_unit_size():
    """Of Keras' own file on a photograph; where both are."""
    readable, _ = find_local("vgg")
    street = Path(__file__).parents[4] / "shared" / "data" / "img" / "street.jpg"
    if not readable or not street.is_file():
        pytest.skip("no ImageNet weights or no photograph here")
    model = Unet((None, None, 3), 21, head_initializer=small_head())
    load_weights(model, open_weights(readable[0]), allow_mismatch=True)
    photograph = np.array(Image.open(street).convert("RGB").resize((448, 448)), np.float32)
    names = [layer.name for layer in model.layers if layer.name.startswith("block")]
    outputs = [model.get_layer(name).output for name in names] + [model.output]
    *features, predicted = keras.Model(model.inputs, outputs).predict_on_batch(
        photograph[None] / 127.5 - 1
    )
    for name, values in zip(names, features, strict=True):
        assert 0.3 < np.sqrt(np.square(values, dtype=np.float64).mean()) < 3, name
    # A new head says about the same of each class: whatever is true, cross-entropy is within a
    # fifth of log(21).
    assert np.mean(-np.log(predicted), axis=(0, 1, 2)).max() < 1.2 * np.log(21)
