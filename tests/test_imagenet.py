"""ImageNet weights of Keras as start weights: same features, found or explained."""

import keras
import numpy as np
import pytest
import tf_keras
from other_networks import keras_2_unet

import nets.imagenet
from errors import UserError
from nets.imagenet import adapt_imagenet, find_imagenet, is_imagenet
from nets.stored import Stored
from nets.unet import Unet
from nets.weights import load_weights, open_weights

FILES = {
    "vgg": "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "resnet50": "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
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


@pytest.fixture
def model_data(tmp_path, monkeypatch):
    """Works in an empty folder that has a model_data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_data").mkdir()
    return tmp_path / "model_data"


@pytest.fixture
def offline(monkeypatch):
    def get_file(*_, **__):
        raise Exception("URL fetch failure on https://...: no route to host")

    monkeypatch.setattr(keras.utils, "get_file", get_file)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["vgg", "resnet50"])
def test_features_are_those_of_keras(backbone, model_data, rng):
    theirs = keras_network(backbone, rng)
    theirs.save_weights(model_data / FILES[backbone])
    size = 448
    ours = Unet((size, size, 3), 2, backbone)
    stored = open_weights("imagenet", backbone)
    assert stored.kind == "ImageNet weights of Keras"
    report = load_weights(ours, stored, allow_mismatch=True)
    assert (report.not_in_model, report.shape_differs, report.unexpected) == ([], [], [])
    assert all(name.startswith(("decoder", "head")) for name in report.not_in_file)

    coarse = rng.uniform(0, 255, (1, 28, 28, 3)).astype("float32")
    picture = np.rint(np.kron(coarse, np.ones((1, 16, 16, 1))))[:, :size, :size]
    module = {"vgg": tf_keras.applications.vgg16, "resnet50": tf_keras.applications.resnet50}
    theirs_in = module[backbone].preprocess_input(picture.copy())
    names = FEATURES[backbone]
    outputs = [theirs.get_layer(name).output for name in names]
    expected = tf_keras.Model(theirs.inputs, outputs).predict_on_batch(theirs_in)
    outputs = [ours.get_layer(name).output for name, _ in names.values()]
    found = keras.Model(ours.inputs, outputs).predict_on_batch(picture / 127.5 - 1)
    for (name, margin), one, other in zip(names.values(), expected, found, strict=True):
        inner = np.s_[:, margin:-margin, margin:-margin]
        assert one[inner].size and one[inner].std() > 0.01, name
        assert np.abs(other[inner] - one[inner]).max() <= 1e-3 * np.abs(one[inner]).max(), name
        # At the border zeros mean something else; were it equal, the test would see nothing.
        assert np.abs(other - one).max() > 1e-3 * np.abs(one).max(), name


def test_keras_first_resnet_keeps_its_epsilon(tmp_path, rng):
    """Its layers were named as here, and normalized with the default epsilon."""
    theirs = keras_2_unet(tf_keras, 2, "resnet50")
    encoder = tf_keras.Model(theirs.inputs, theirs.get_layer("bn5c_branch2c").output)
    path = tmp_path / FILES["resnet50"]
    encoder.save_weights(path)
    gamma = encoder.get_layer("bn3a_branch1").get_weights()[0]
    np.testing.assert_array_equal(open_weights(path).layers["bn3a_branch1"][0], gamma)


def test_the_first_convolution_by_hand():
    """One pixel, one filter: black is -1 here, and minus the means there; white 1 and more."""
    kernel = np.array([1.0, 10.0, 100.0], "float32").reshape(1, 1, 3, 1)  # of B, G, R
    layers = {"block1_conv1": [kernel, np.array([7.0], "float32")]}
    ((adapted, bias),) = adapt_imagenet(Stored("x", "", layers)).layers.values()
    assert adapted.ravel().tolist() == [12750.0, 1275.0, 127.5]  # of R, G, B
    black = 7 + 1 * -103.939 + 10 * -116.779 + 100 * -123.68
    white = black + 255 * 111
    assert bias[0] - adapted.sum() == pytest.approx(black, rel=1e-6)
    assert bias[0] + adapted.sum() == pytest.approx(white, rel=1e-6)


@pytest.mark.parametrize("backbone", ["vgg", "resnet50"])
def test_the_file_in_model_data_is_taken(backbone, model_data, offline):
    (model_data / FILES[backbone]).touch()
    path = find_imagenet(backbone)
    assert path.resolve() == model_data / FILES[backbone]
    assert is_imagenet(path)


@pytest.mark.parametrize("backbone", ["vgg", "resnet50"])
def test_else_it_is_downloaded_and_checked(backbone, model_data, monkeypatch, tmp_path):
    asked = []

    def get_file(name, url, **options):
        asked.append((name, url, options))
        return str(tmp_path / name)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert find_imagenet(backbone) == tmp_path / FILES[backbone]
    ((name, url, options),) = asked
    assert name == FILES[backbone]
    assert url.startswith("https://") and url.endswith(name)
    assert len(options["file_hash"]) == 32  # compared with Keras' own below


def test_places_and_sums_are_those_of_keras():
    from keras.src.applications import resnet, vgg16

    _, name, checksum = nets.imagenet._FILES["resnet50"]
    assert resnet.WEIGHTS_HASHES["resnet50"][1] == checksum
    assert f"{nets.imagenet._URL}/resnet/" == resnet.BASE_WEIGHTS_PATH
    folder, name, checksum = nets.imagenet._FILES["vgg"]
    assert f"{nets.imagenet._URL}/{folder}/{name}" == vgg16.WEIGHTS_PATH_NO_TOP
    with open(vgg16.__file__, encoding="utf-8") as file:
        assert checksum in file.read()


@pytest.mark.parametrize("backbone", ["vgg", "resnet50"])
def test_without_file_and_network_one_message_says_what_to_do(backbone, model_data, offline):
    with pytest.raises(UserError) as caught:
        open_weights("imagenet", backbone)
    message = str(caught.value)
    assert f"/{FILES[backbone]} into model_data/" in message
    assert "no route to host" in message
    assert '--model_path ""' in message
    assert "\n" not in message


def test_a_file_of_that_name_with_another_network_is_refused(tmp_path):
    path = tmp_path / FILES["vgg"]
    keras_2_unet(tf_keras, 2, "vgg").save_weights(path)
    with pytest.raises(UserError, match="named as Keras' ImageNet weights, but holds another"):
        open_weights(path)


def test_an_encoder_alone_can_not_predict(tmp_path):
    import unet

    theirs = keras_2_unet(tf_keras, 2, "vgg")
    path = tmp_path / FILES["vgg"]
    tf_keras.Model(theirs.inputs, theirs.get_layer("block5_conv3").output).save_weights(path)
    with pytest.raises(UserError, match=r"holds an encoder alone .* Train first: python train\.py"):
        unet.Unet(path)
