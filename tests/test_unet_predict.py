"""`Unet.predict`: images of any kind in, one object for each; several weights; threads."""

import dataclasses
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_networks import network_of_three_classes
from PIL import Image

import unet as unet_module
from errors import UserError
from nets import unet as networks
from nets.weights.description import Description
from nets.weights.storage import save_weights
from unet import Unet
from utils.images.transforms import normalize
from utils.prediction.tiles import predict_windows

NAMES = ("background", "cell", "猫")
DESCRIPTION = Description(3, "vgg", (32, 48), NAMES, 8)
ROOT = Path(unet_module.__file__).parent


@pytest.fixture(scope="module")
def members():
    return [network_of_three_classes(seed) for seed in range(2)]


@pytest.fixture(scope="module")
def files(members, tmp_path_factory):
    """Weights files of two networks, in folders of their own."""
    paths = []
    for index, network in enumerate(members):
        path = tmp_path_factory.mktemp("folds") / f"fold_{index}" / "best.weights.h5"
        path.parent.mkdir()
        save_weights(network, path, DESCRIPTION)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def unet(files):
    return Unet(files[0], precision="float32")


@pytest.fixture(scope="module")
def arrays():
    """Images of several sizes; the third has that of the network."""
    rng = np.random.default_rng(1)
    sizes = [(40, 50), (20, 90), (32, 48), (70, 30), (9, 9), (33, 47), (1, 1)]
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]


# Kinds of images


def test_paths_pil_images_and_arrays_give_the_same(unet, arrays, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(arrays[0]).save(path)
    expected = unet.predict_array(arrays[0])
    for image in (path, str(path), Image.open(path), Image.fromarray(arrays[0]), arrays[0]):
        found = unet.predict(image)
        np.testing.assert_array_equal(found.mask, expected)
        np.testing.assert_array_equal(found.image, arrays[0])
        assert found.names == NAMES
        assert found.source == (str(path) if isinstance(image, (str, Path)) else "")


def test_lists_of_all_kinds_are_predicted_in_order(unet, arrays, tmp_path):
    mixed = list(arrays)
    mixed[1] = tmp_path / "b.png"
    Image.fromarray(arrays[1]).save(mixed[1])
    mixed[3] = Image.fromarray(arrays[3])
    for images in (mixed, tuple(mixed), (one for one in mixed)):
        found = unet.predict(images, batch_size=3)
        assert [one.mask.shape for one in found] == [one.shape[:2] for one in arrays]
        for one, image in zip(found, arrays, strict=True):
            # A batch may round otherwise than an image alone.
            assert (one.mask == unet.predict_array(image)).mean() > 0.99
    assert unet.predict([]) == []


def test_batches_fill_the_network(unet, arrays, monkeypatch):
    seen = []

    def network(batch, run=unet._network):
        seen.append(len(batch))
        return run(batch)

    monkeypatch.setattr(unet, "_network", network)
    unet.predict(arrays, batch_size=4)
    assert seen == [4, 4]
    unet.predict(arrays[0])
    assert seen == [4, 4, 1]


def test_an_array_is_kept_as_it_was(unet, arrays):
    frame = arrays[0].copy()
    found = unet.predict(frame)
    frame[:] = 0  # as a camera does with the next one
    np.testing.assert_array_equal(found.image, arrays[0])


def test_an_image_that_cannot_be_read_is_named(unet, arrays, tmp_path):
    with pytest.raises(UserError, match=r"^Image 2 of 3: There is no file .*missing\.png"):
        unet.predict([arrays[0], tmp_path / "missing.png", arrays[1]])
    with pytest.raises(UserError, match=r"^There is no file .*missing\.png"):
        unet.predict(tmp_path / "missing.png")
    with pytest.raises(UserError, match=r"^The image is a NoneType\. Expected a PIL\.Image or"):
        unet.predict(None)
    with pytest.raises(UserError, match=r"^Image 1 of 1: The image is a dict\. Expected"):
        unet.predict([{}])
    with pytest.raises(UserError, match=r"takes arrays \(height, width, 3\); got \(2, 9, 9, 3\)"):
        unet.predict(np.zeros((2, 9, 9, 3), np.uint8))


# Probabilities


def test_probabilities_are_the_network_s(members, unet, arrays):
    image = arrays[2]  # of the network's size: nothing is resized
    found = unet.predict(image)
    expected = members[0].predict_on_batch(normalize(image)[None])[0]
    np.testing.assert_array_equal(found.probabilities, expected)
    np.testing.assert_array_equal(found.confidence, expected.max(axis=-1))


def test_the_mask_is_the_most_probable_class(unet, arrays):
    for image, found in zip(arrays, unet.predict(arrays), strict=True):
        probabilities = found.probabilities
        assert probabilities.shape == (*image.shape[:2], 3)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
        np.testing.assert_array_equal(probabilities.argmax(axis=-1), found.mask)
        np.testing.assert_array_equal(probabilities.max(axis=-1), found.confidence)


def test_probabilities_in_tiles(files, arrays):
    unet = Unet(files[0], precision="float32", tile=True)
    for image, found in zip(arrays, unet.predict(arrays, batch_size=1), strict=True):
        np.testing.assert_array_equal(found.mask, unet.predict_array(image))
        np.testing.assert_array_equal(found.probabilities.argmax(axis=-1), found.mask)
        np.testing.assert_allclose(found.probabilities.sum(axis=-1), 1, atol=1e-5)
        np.testing.assert_array_equal(found.probabilities.max(axis=-1), found.confidence)


def test_probabilities_in_windows(members, tmp_path, arrays):
    described = dataclasses.replace(DESCRIPTION, input_shape=(96, 144), window=(32, 48))
    path = tmp_path / "windows.weights.h5"
    save_weights(members[0], path, described)
    unet = Unet(path, precision="float32")
    for image, found in zip(arrays, unet.predict(arrays, batch_size=1), strict=True):
        mask = predict_windows(members[0].predict_on_batch, image, (96, 144), (32, 48))
        np.testing.assert_array_equal(found.mask, mask)
        np.testing.assert_array_equal(found.probabilities.argmax(axis=-1), mask)
        np.testing.assert_array_equal(found.probabilities.max(axis=-1), found.confidence)


def test_thresholds_and_small_regions_decide_as_elsewhere(files, arrays):
    unet = Unet(files[0], precision="float32", threshold={"cell": 0.2}, min_region=4)
    for image, found in zip(arrays, unet.predict(arrays, batch_size=1), strict=True):
        np.testing.assert_array_equal(found.mask, unet.predict_array(image))
        np.testing.assert_array_equal(found.confidence, found.probabilities.max(axis=-1))
        assert all(one.area >= 4 for one in found.regions(background=True)) or image.size < 20
    plain = Unet(files[0], precision="float32").predict(arrays[0])
    found = unet.predict(arrays[0])
    assert found.shares["cell"] > plain.shares["cell"]
    np.testing.assert_array_equal(found.probabilities, plain.probabilities)


# Several weights


def test_several_weights_average_probabilities(members, files, arrays):
    unet = Unet(files, precision="float32")
    image = arrays[2]
    each = [network.predict_on_batch(normalize(image)[None])[0] for network in members]
    found = unet.predict(image)
    np.testing.assert_allclose(found.probabilities, (each[0] + each[1]) / 2, atol=1e-7)
    np.testing.assert_array_equal(found.mask, ((each[0] + each[1]) / 2).argmax(axis=-1))
    assert (each[0].argmax(axis=-1) != found.mask).any()
    assert (each[1].argmax(axis=-1) != found.mask).any()
    np.testing.assert_array_equal(unet.predict_array(image), found.mask)
    assert np.array_equal(np.array(unet.get_miou_png(image)), found.mask)


def test_flips_are_averaged_over_all_weights(members, files, arrays):
    image = arrays[2]
    each = [
        network.predict_on_batch(normalize(image[:, ::step])[None])[0][:, ::step]
        for network in members
        for step in (1, -1)
    ]
    found = Unet(files, precision="float32", tta="h").predict(image)
    np.testing.assert_allclose(found.probabilities, np.mean(each, axis=0), atol=1e-6)


def test_wildcards_name_several_weights(files, tmp_path):
    for index, path in enumerate(files):
        link = tmp_path / f"fold_{index}" / path.name
        link.parent.mkdir()
        os.link(path, link)
    unet = Unet(f"{tmp_path}/fold_*/best.weights.h5", precision="float32")
    assert unet.paths == [tmp_path / f"fold_{index}" / "best.weights.h5" for index in range(2)]
    assert len(unet.models) == len(unet.descriptions) == len(unet.reports) == 2
    assert str(unet.report).count("Weights of ") == 2
    assert unet.precision_reason == "precision: float32, as set."
    assert (unet.engine, unet.description) == ("keras", DESCRIPTION)


def test_an_ensemble_has_no_single_network(files):
    with pytest.raises(UserError, match=r"names 2 weights files, .* single network\. Give the"):
        _ = Unet(files, precision="float32").model


def test_other_sizes_need_one_that_is_given(members, files, tmp_path, arrays):
    path = tmp_path / "larger.weights.h5"
    save_weights(members[1], path, dataclasses.replace(DESCRIPTION, input_shape=(64, 48)))
    with pytest.raises(UserError) as caught:
        Unet([files[0], path])
    assert str(caught.value) == (
        f"{files[0]} and {path} don't fit each other: input_shape is (32, 48) in the one and "
        "(64, 48) in the other. Give input_shape, which then holds for all."
    )
    unet = Unet([files[0], path], input_shape=(32, 48), precision="float32")
    both = Unet(files, precision="float32")
    np.testing.assert_array_equal(unet.predict_array(arrays[0]), both.predict_array(arrays[0]))
    assert unet.size_reason == (
        "Predicting at 32x48 (height x width) instead of the 64x48 of the training."
    )


def test_other_networks_of_the_same_classes_fit(members, files, tmp_path, arrays):
    described = dataclasses.replace(DESCRIPTION, backbone="resnet50", width=4)
    network = networks.build(described, (32, 48))
    path = tmp_path / "resnet.weights.h5"
    save_weights(network, path, described)
    found = Unet([files[0], path], precision="float32").predict(arrays[2])
    batch = normalize(arrays[2])[None]
    each = [one.predict_on_batch(batch)[0] for one in (members[0], network)]
    np.testing.assert_allclose(found.probabilities, (each[0] + each[1]) / 2, atol=1e-6)


# Threads


def test_eight_threads_find_what_one_finds(unet, arrays, tmp_path):
    path = tmp_path / "shared.png"
    Image.fromarray(arrays[3]).save(path)
    expected = unet.predict([*arrays, path], batch_size=3)
    shared = Image.open(path)  # decoded by whichever thread comes first

    def work(_):
        return unet.predict([*arrays, shared], batch_size=3)

    with ThreadPoolExecutor(8) as pool:
        rounds = list(pool.map(work, range(16)))
    for found in rounds:
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
            np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_threads_take_turns_at_the_network(unet, arrays, monkeypatch):
    """JAX' predict_on_batch, for one, moves its state about."""
    runner, busy, clashes = unet._runners[0], threading.Lock(), []

    def run(batch, run=runner._run):
        clashes.append(not busy.acquire(blocking=False))
        time.sleep(0.01)
        found = run(batch)
        busy.release()
        return found

    monkeypatch.setattr(runner, "_run", run)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(unet.predict, [arrays[0]] * 16))
    assert clashes == [False] * 16


# What is imported


def test_no_weights_are_told_of_before_keras_is_imported(tmp_path):
    """TensorFlow takes seconds, which nobody wants to wait to learn of a mistyped path."""
    code = (
        "import sys; from unet import Unet\n"
        f"try: Unet({str(tmp_path / 'no.weights.h5')!r})\n"
        "except ValueError as error: print(error)\n"
        "print({'keras', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    message, modules = done.stdout.splitlines()
    assert re.match(r"No weights file .*no\.weights\.h5\. Train first", message)
    assert modules == "set()"
