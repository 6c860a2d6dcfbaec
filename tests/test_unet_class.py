"""`Unet`: a weights file in, masks and images out."""

import dataclasses
import re
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest
import tifffile
from made_networks import network_of_three_classes
from PIL import Image

import unet as unet_module
from errors import UserError
from nets import unet as networks
from nets.weights.description import Description
from nets.weights.storage import LOADED, save_weights
from unet import Unet
from utils.images.reading import read_image
from utils.images.transforms import normalize
from utils.labels import voc_palette
from utils.prediction import inference
from utils.prediction.decide import Decision, Keep
from utils.prediction.draw import draw_mask, format_count
from utils.prediction.inference import predict_mask
from utils.prediction.small_regions import drop_small_regions
from utils.prediction.tiles import predict_tiles, predict_windows

NAMES = ("background", "cell", "猫")
DESCRIPTION = Description(3, "vgg", (32, 48), NAMES, 8, (7, 255))
COLORS = voc_palette(256)


@pytest.fixture(scope="module")
def network():
    return network_of_three_classes(0)


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    save_weights(network, path, DESCRIPTION)
    return path


@pytest.fixture(scope="module")
def plain(network, tmp_path_factory):
    """The same network in a file that does not say what it holds."""
    path = tmp_path_factory.mktemp("plain") / "plain.weights.h5"
    network.save_weights(path)
    return path


@pytest.fixture(scope="module")
def shared(weights):
    """For tests that change nothing."""
    return Unet(weights, precision="float32")


@pytest.fixture
def fixed(weights, monkeypatch):
    """fixed(mask, mix_type): a Unet that finds this mask; `.seen` is what it was given."""

    def make(mask, mix_type=0):
        unet = Unet(weights, mix_type=mix_type, precision="float32")
        unet.seen = []

        def predict_array(image, progress=False):
            # A copy: what is drawn is drawn into the array itself.
            unet.seen.append(image.copy())
            return np.broadcast_to(np.array(mask, np.uint8), image.shape[:2])

        monkeypatch.setattr(unet, "predict_array", predict_array)
        return unet

    return make


@pytest.fixture
def noise(rng):
    """uint8 (40, 50, 3); neither the network's size nor its aspect."""
    return rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)


# What the file says


def test_everything_is_read_from_the_file(network, weights):
    unet = Unet(weights, precision="float32")
    assert unet.description == DESCRIPTION
    assert unet.model.input_shape == (None, 32, 48, 3)
    assert unet.model.output_shape == (None, 32, 48, 3)
    for loaded, saved in zip(unet.model.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, saved)


def test_a_path_may_be_a_string(weights):
    assert Unet(str(weights), precision="float32").description == DESCRIPTION


def test_the_mask_is_that_of_the_saved_network(network, shared, noise):
    mask = shared.predict_array(noise)
    np.testing.assert_array_equal(mask, predict_mask(network.predict_on_batch, noise, (32, 48)))
    assert np.unique(mask).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "given",
    [
        {"num_classes": 3, "backbone": "vgg", "input_shape": (32, 48), "name_classes": NAMES},
        {"input_shape": [32, 48], "name_classes": list(NAMES)},
        {"input_shape": (32, 48, 3), "name_classes": ()},
    ],
)
def test_arguments_may_repeat_what_the_file_says(weights, given):
    assert Unet(weights, precision="float32", **given).description == DESCRIPTION


@pytest.mark.parametrize(
    ("name", "given", "held"),
    [
        ("num_classes", 4, 3),
        ("num_classes", 0, 3),
        ("backbone", "resnet50", "vgg"),
    ],
)
def test_what_contradicts_the_file_is_refused_with_both_values(weights, name, given, held):
    with pytest.raises(UserError) as caught:
        Unet(weights, **{name: given})
    assert str(caught.value) == (
        f"{name} is {given!r}, but {weights} holds {name} {held!r}. "
        f"Leave {name} out to use the file's."
    )


def test_new_names_are_taken_and_told(weights, noise, capsys):
    unet = Unet(weights, precision="float32", name_classes=["nothing", "cell", "cat"])
    assert unet.description == dataclasses.replace(
        DESCRIPTION, name_classes=("nothing", "cell", "cat")
    )
    assert str(unet.report).splitlines()[-1] == (
        "Classes are named as name_classes says: 0 was 'background', is 'nothing'; 2 was '猫', is "
        "'cat'."
    )
    unet.detect_image(Image.fromarray(noise), count=True)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "nothing", "cell", "cat",
    ]  # fmt: skip


def test_names_in_another_order_or_number_are_refused(weights):
    with pytest.raises(UserError, match=r"gives 'cell' to class 2, not 1 as in .*Keep the order"):
        Unet(weights, name_classes=("background", "tree", "cell"))
    with pytest.raises(UserError, match="name_classes holds 2 names, but num_classes is 3"):
        Unet(weights, name_classes=("background", "cell"))


@pytest.mark.parametrize("size", [(64, 48), (50, 37), (16, 16)])
def test_another_size_than_that_of_the_training(weights, network, noise, size):
    unet = Unet(weights, input_shape=size, precision="float32")
    assert unet.description == dataclasses.replace(DESCRIPTION, input_shape=size)
    assert unet.size_reason == (
        f"Predicting at {size[0]}x{size[1]} (height x width) instead of the 32x48 of the training."
    )
    fixed = networks.build(DESCRIPTION, size)
    fixed.set_weights(network.get_weights())
    expected = predict_mask(fixed.predict_on_batch, noise, size)
    np.testing.assert_array_equal(unet.predict_array(noise), expected)


def test_the_size_of_the_training_needs_no_word(weights, plain, shared, noise):
    unet = Unet(weights, input_shape=(32, 48), precision="float32")
    assert unet.size_reason == shared.size_reason == ""
    np.testing.assert_array_equal(unet.predict_array(noise), shared.predict_array(noise))
    assert Unet(plain, input_shape=(64, 48), precision="float32").size_reason == ""


def test_another_size_is_checked(weights):
    with pytest.raises(UserError, match=r"at least 1 pixel high and wide; got \(0, 48\)\."):
        Unet(weights, input_shape=(0, 48))


def test_windows_become_no_larger_than_the_size(network, tmp_path):
    described = dataclasses.replace(DESCRIPTION, input_shape=(96, 144), window=(32, 48))
    path = tmp_path / "windows.weights.h5"
    save_weights(network, path, described)
    unet = Unet(path, input_shape=(64, 40), precision="float32")
    assert (unet.description.input_shape, unet.description.window) == ((64, 40), (32, 40))


def test_a_plain_keras_file_tells_all_but_its_size(plain, noise):
    unet = Unet(plain, precision="float32")
    names = ("background", "class_1", "class_2")
    assert unet.description == Description(3, "vgg", (512, 512), names, width=8)
    unet = Unet(plain, input_shape=[32, 48, 3], name_classes=NAMES, precision="float32")
    assert unet.description == Description(3, "vgg", (32, 48), NAMES, width=8)
    assert len(unet.report.layers(LOADED)) == 22 and unet.report.is_exact


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 4}, "num_classes is 4, but .* holds num_classes 3. Leave num_classes"),
        ({"backbone": "resnet50"}, "backbone is 'resnet50', but .* holds backbone 'vgg'"),
        ({"input_shape": (0, 48)}, r"at least 1 pixel high and wide; got \(0, 48\)\."),
        ({"name_classes": ("a", "b")}, "name_classes holds 2 names, but num_classes is 3"),
    ],
)
def test_arguments_for_a_plain_keras_file_are_checked(plain, change, message):
    with pytest.raises(UserError, match=message):
        Unet(plain, **change)


@pytest.mark.slow
def test_a_plain_keras_file_of_the_article_s_network(tmp_path, noise):
    network = networks.Unet((None, None, 3), 2)
    path = tmp_path / "plain.weights.h5"
    network.save_weights(path)
    unet = Unet(path, 2, "vgg", (32, 32), precision="float32")
    expected = predict_mask(network.predict_on_batch, noise, (32, 32))
    np.testing.assert_array_equal(unet.predict_array(noise), expected)


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "other.weights.h5"
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, name="dense")])
    model.save_weights(path)
    with pytest.raises(UserError, match=r"holds another network: its layers are dense, \.\.\."):
        Unet(path)


def test_files_that_hold_no_weights_are_named(tmp_path):
    path = tmp_path / "no.weights.h5"
    with pytest.raises(UserError, match=f"^No weights file {re.escape(str(path))}"):
        Unet(path)
    path.write_text("no weights")
    with pytest.raises(UserError, match=f"^{re.escape(str(path))} is not a weights file"):
        Unet(path)


@pytest.mark.parametrize("mix_type", [4, -1, "0", None])
def test_an_unknown_mix_type_is_refused(weights, mix_type):
    with pytest.raises(UserError) as caught:
        Unet(weights, mix_type=mix_type)
    assert str(caught.value) == f"mix_type must be one of 0, 1, 2, 3; got {mix_type!r}."


def test_an_unknown_precision_is_refused(weights):
    with pytest.raises(UserError, match=r"precision must be one of .*; got 'float64'\."):
        Unet(weights, precision="float64")


# Drawing


def assert_blended(result, image, painted):
    """Each value is the integer nearest to 0.3 image + 0.7 colour; halves either way.

    The background, which is black, stays as the image is.
    """
    background = (painted == 0).all(axis=-1)
    np.testing.assert_array_equal(result[background], image[background])
    result, image, painted = (one[~background] for one in (result, image, painted))
    tenths = 3 * image.astype(int) + 7 * painted.astype(int)
    assert np.abs(10 * result.astype(int) - tenths).max() <= 5


def test_a_blend_has_three_tenths_of_the_image(fixed, noise, rng):
    mask = rng.integers(0, 3, (40, 50))
    result = fixed(mask, mix_type=0).detect_image(Image.fromarray(noise))
    assert (result.mode, result.size) == ("RGB", (50, 40))
    assert_blended(np.array(result), noise, COLORS[mask])


def test_a_blend_by_hand():
    image = np.array([[(100, 0, 255), (100, 0, 255)]], np.uint8)
    # Class 1 is (128, 0, 0): 0.3 * 100 + 0.7 * 128 = 119.6; 0.3 * 255 = 76.5 is either.
    blended = draw_mask(image, np.array([[0, 1]], np.uint8), COLORS).tolist()
    assert blended[0][0] == [100, 0, 255]
    assert blended[0][1][:2] == [120, 0]


def test_every_pair_of_values_blends_right():
    """All 256 values of an image over all 256 colours."""
    image = np.repeat(np.arange(256, dtype=np.uint8), 256).reshape(256, 256, 1).repeat(3, axis=2)
    mask = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    assert_blended(draw_mask(image, mask, COLORS), image, COLORS[mask])


def test_the_mask_s_colours_alone(fixed, noise, rng):
    mask = rng.integers(0, 3, (40, 50))
    result = fixed(mask, mix_type=1).detect_image(Image.fromarray(noise))
    assert result.mode == "RGB"
    np.testing.assert_array_equal(np.array(result), COLORS[mask])


def test_the_background_is_removed(fixed, noise, rng):
    mask = rng.integers(0, 3, (40, 50))
    result = fixed(mask, mix_type=2).detect_image(Image.fromarray(noise))
    assert result.mode == "RGB"
    np.testing.assert_array_equal(np.array(result), noise * (mask > 0)[..., None])


def test_outlines(fixed, noise):
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 20:45] = 2
    inner = np.zeros((40, 50), bool)
    inner[12:28, 22:43] = True  # outlines are two pixels wide
    result = np.array(fixed(mask, mix_type=3).detect_image(Image.fromarray(noise)))
    line = (mask == 2) & ~inner
    np.testing.assert_array_equal(result, np.where(line[..., None], COLORS[2], noise))


def test_a_legend_is_added_below(fixed, noise):
    unet = fixed(1, mix_type=1)
    plain = np.array(unet.detect_image(Image.fromarray(noise)))
    result = np.array(unet.detect_image(Image.fromarray(noise), legend=True))
    np.testing.assert_array_equal(result[:40, :50], plain)
    assert result.shape[0] > 40
    np.testing.assert_array_equal(unet.draw(noise, np.ones((40, 50), np.uint8), True), result)


@pytest.mark.parametrize("mix_type", [0, 1, 2, 3])
def test_drawing_into_the_image_itself(fixed, noise, rng, mix_type):
    mask = rng.integers(0, 3, (40, 50)).astype(np.uint8)
    unet, before = fixed(mask, mix_type), noise.copy()
    apart = unet.draw(noise, mask)
    np.testing.assert_array_equal(noise, before)
    assert unet.draw(noise, mask, out=noise) is noise
    np.testing.assert_array_equal(noise, apart)


def of_mode(mode):
    """(image of 10 rows and 20 columns in this mode, the grey (10, 20) that it shows)."""
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    image = Image.fromarray(grey)
    if mode == "I;16":
        return Image.fromarray(grey.astype(np.uint16) * 257), grey
    if mode == "P":
        image.putpalette([value for index in range(256) for value in [255 - index] * 3])
        return image, 255 - grey
    if mode == "1":
        return Image.fromarray(grey > 90), np.where(grey > 90, 255, 0)
    return image.convert(mode), grey


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "I", "F"])
def test_images_of_any_mode(fixed, mode):
    image, grey = of_mode(mode)
    assert image.mode == mode
    # With all foreground, mix_type 2 gives back the image.
    unet = fixed(1, mix_type=2)
    result = unet.detect_image(image)
    assert (result.mode, result.size) == ("RGB", (20, 10))
    np.testing.assert_array_equal(np.array(result), np.repeat(grey[..., None], 3, axis=2))
    assert unet.get_miou_png(image).size == (20, 10)
    for seen in unet.seen:
        np.testing.assert_array_equal(seen, np.array(result))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_images_are_turned_upright(fixed, orientation, noise):
    image = Image.fromarray(noise)
    image.getexif()[0x0112] = orientation
    # What EXIF says of row 0 and column 0 of the file, as NumPy turns them.
    upright = {
        1: noise,
        2: noise[:, ::-1],
        3: noise[::-1, ::-1],
        4: noise[::-1],
        5: noise.transpose(1, 0, 2),
        6: noise.transpose(1, 0, 2)[:, ::-1],
        7: noise.transpose(1, 0, 2)[::-1, ::-1],
        8: noise.transpose(1, 0, 2)[::-1],
    }[orientation]
    unet = fixed(2, mix_type=2)
    np.testing.assert_array_equal(np.array(unet.detect_image(image)), upright)
    assert unet.get_miou_png(image).size == (upright.shape[1], upright.shape[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (130, 3), (32, 48)])
def test_images_of_any_size(shared, rng, size):
    image = Image.fromarray(rng.integers(0, 256, (*size, 3)).astype(np.uint8))
    assert shared.detect_image(image).size == size[::-1]
    assert shared.get_miou_png(image).size == size[::-1]


def test_the_image_itself_is_not_changed(shared, noise):
    image = Image.fromarray(noise).convert("RGBA")
    before = image.tobytes()
    shared.detect_image(image)
    assert (image.mode, image.tobytes()) == ("RGBA", before)


# Counting


def test_the_count_table():
    mask = np.zeros((1000, 2000), np.uint8)
    mask[:5, :3] = 2
    assert format_count(mask, ("background", "cell", "tree")).splitlines() == [
        "class             pixels   share",
        "background     1,999,985  100.00%",
        "tree                  15   0.00%",
    ]


def test_counting_is_printed_if_asked_for(fixed, noise, capsys):
    mask = np.zeros((40, 50), np.uint8)
    mask[:10] = 1
    unet = fixed(mask)
    unet.detect_image(Image.fromarray(noise))
    assert capsys.readouterr().out == ""
    unet.detect_image(Image.fromarray(noise), count=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["class", "pixels", "share"],
        ["background", "1,500", "75.00%"],
        ["cell", "500", "25.00%"],
    ]


def test_names_for_the_count_may_be_given(fixed, noise, capsys):
    unet = fixed(2)
    unet.detect_image(Image.fromarray(noise), count=True, name_classes=["nothing", "a", "tree"])
    assert capsys.readouterr().out.splitlines()[1].split() == ["tree", "2,000", "100.00%"]
    with pytest.raises(UserError, match="name_classes holds 1 names, but num_classes is 3"):
        unet.detect_image(Image.fromarray(noise), count=True, name_classes=["nothing"])


# Masks and time


def test_get_miou_png_holds_the_class_ids(shared, noise):
    png = shared.get_miou_png(Image.fromarray(noise))
    assert png.mode == "P"
    np.testing.assert_array_equal(np.array(png), shared.predict_array(noise))
    np.testing.assert_array_equal(np.array(png.convert("RGB")), COLORS[np.array(png)])


def test_get_fps_times_real_predictions(shared, noise):
    assert 0 < shared.get_FPS(Image.fromarray(noise), 2) < 10


@pytest.fixture
def clocked(weights, monkeypatch):
    """A Unet and the seconds of its stages, the first round of which compiles the network."""
    unet, clock = Unet(weights, precision="float32"), [0.0]
    seconds = {"preprocess": [9, 1, 2], "network": [900, 10, 40], "postprocess": [5, 3, 1]}

    def timed(stage, function):
        durations = iter(seconds[stage])

        def run(*args):
            clock[0] += next(durations)
            return function(*args)

        return run

    stages = {"letterbox_image": "preprocess", "most_probable": "postprocess"}
    for name, stage in stages.items():
        monkeypatch.setattr(inference, name, timed(stage, getattr(inference, name)))
    monkeypatch.setattr(unet, "_network", timed("network", unet._network))
    # The module's own name, for others read the real clock.
    monkeypatch.setattr(unet_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    return unet


def test_stages_are_timed_apart_without_the_warm_up(clocked, noise):
    times = clocked.time_stages(Image.fromarray(noise), 2)
    assert {stage: seconds.tolist() for stage, seconds in times.items()} == {
        "preprocess": [1, 2],
        "network": [10, 40],
        "postprocess": [3, 1],
    }


def test_get_fps_is_the_mean_of_all_stages_together(clocked, noise):
    assert clocked.get_FPS(Image.fromarray(noise), 2) == ((1 + 10 + 3) + (2 + 40 + 1)) / 2


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (32, 48)])
def test_images_of_any_shape_are_timed(shared, size):
    times = shared.time_stages(Image.new("LA", size[::-1]), 1)
    assert list(times) == ["preprocess", "network", "postprocess"]
    assert all(seconds.shape == (1,) and seconds[0] > 0 for seconds in times.values())


def test_less_than_one_round_is_refused(shared, noise):
    for function in (shared.time_stages, shared.get_FPS):
        with pytest.raises(UserError) as caught:
            function(Image.fromarray(noise), 0)
        assert str(caught.value) == "test_interval must be at least 1; got 0."


# Files


@pytest.fixture
def images(tmp_path, rng, write_image):
    """Seven image files of several sizes; the third is broken."""
    sizes = [(40, 50), (20, 90), (32, 48), (1, 1), (70, 30), (9, 9), (33, 47)]
    paths = [
        write_image(tmp_path / f"{index}.png", rng.integers(0, 256, (*size, 3)).astype(np.uint8))
        for index, size in enumerate(sizes)
    ]
    paths[2].write_bytes(paths[2].read_bytes()[:60])
    return paths


def assert_alike(mask, expected):
    """A batch may round otherwise than an image alone: pixels on edges may differ."""
    assert (mask.shape, mask.dtype) == (expected.shape, np.uint8)
    assert np.mean(mask == expected) > 0.99


@pytest.mark.parametrize("batch_size", [1, 3, 20])
def test_files_are_segmented_in_order_and_a_broken_one_stops_nothing(shared, images, batch_size):
    outcomes = list(shared.predict_files(images, batch_size))
    assert [one.item for one in outcomes] == images
    broken = outcomes.pop(2)
    assert broken.value is None
    assert str(broken.error).startswith(f"The image {images[2]} can't be read: ")
    for one in outcomes:
        pixels, mask = one.value
        np.testing.assert_array_equal(pixels, read_image(one.item))
        assert_alike(mask, shared.predict_array(pixels))
        assert one.error is None


def test_files_are_finished_as_the_caller_says(shared, images):
    def finish(path, pixels, mask):
        if path == images[4]:
            raise UserError("not this one")
        return path.name, pixels.shape, mask.shape

    outcomes = list(shared.predict_files(images, 2, finish))
    assert outcomes[0].value == ("0.png", (40, 50, 3), (40, 50))
    assert [one.item.name for one in outcomes if one.error] == ["2.png", "4.png"]
    assert str(outcomes[4].error) == "not this one"


def test_no_files(shared):
    assert list(shared.predict_files([])) == []


def test_an_error_that_is_no_image_s_ends_the_work(shared, images):
    def finish(path, pixels, mask):
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        list(shared.predict_files(images, 2, finish))


# Large images


@pytest.fixture(scope="module")
def limited(weights):
    """Takes images of up to 2,000 pixels."""
    return Unet(weights, precision="float32", max_pixels=2000)


def test_images_of_more_than_max_pixels_are_refused(limited, tmp_path):
    image = Image.new("RGB", (23, 87))  # one pixel more
    message = r"The image {} has 23x87 = 2,001 pixels; max_pixels is 2,000\."
    for function in (limited.detect_image, limited.get_miou_png):
        with pytest.raises(UserError, match=message.format("given")):
            function(image)
    with pytest.raises(UserError, match=message.format("given")):
        limited.time_stages(image, 1)
    path = tmp_path / "large.png"
    image.save(path)
    [outcome] = limited.predict_files([path])
    assert re.search(message.format(re.escape(str(path))), str(outcome.error))


def test_an_image_of_max_pixels_is_taken(limited):
    assert limited.detect_image(Image.new("RGB", (20, 100))).size == (20, 100)


@pytest.mark.parametrize("size", [(40, 50), (90, 20), (100, 130)])
def test_tiles_if_asked_for(network, weights, rng, size):
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    tiled = predict_tiles(network.predict_on_batch, image, (32, 48))
    whole = predict_mask(network.predict_on_batch, image, (32, 48))
    assert np.mean(tiled == whole) < 0.9
    for tile, expected in ((True, tiled), (False, whole), (None, whole)):
        unet = Unet(weights, precision="float32", tile=tile)
        np.testing.assert_array_equal(unet.predict_array(image), expected)


def test_files_are_segmented_in_tiles_too(network, weights, images):
    unet = Unet(weights, precision="float32", tile=True)
    outcomes = [one for one in unet.predict_files(images, 4) if not one.error]
    assert len(outcomes) == 6
    for one in outcomes:
        pixels, mask = one.value
        assert_alike(mask, unet.predict_array(pixels))


# Averages over flips


@pytest.mark.parametrize(
    ("tta", "flips"),
    [("none", [()]), ("h", [(), (1,)]), ("hv", [(), (1,), (0,), (0, 1)])],
)
def test_averages_over_flips(network, weights, rng, tta, flips):
    image = rng.integers(0, 256, (32, 48, 3)).astype(np.uint8)
    probabilities = [
        np.flip(network.predict_on_batch(np.flip(normalize(image), axes)[None])[0], axes)
        for axes in flips
    ]
    expected = np.mean(probabilities, axis=0, dtype=np.float64).argmax(axis=-1)
    unet = Unet(weights, precision="float32", tta=tta)
    assert_alike(unet.predict_array(image), expected)


def test_an_unknown_tta_is_refused(weights):
    with pytest.raises(UserError, match=r"tta must be none, h .*; got 'v'\."):
        Unet(weights, tta="v")


# Precision


@pytest.fixture
def unchanged_policy():
    """Fails the test if it leaves another global dtype policy behind."""
    before = keras.config.dtype_policy().name
    yield
    assert keras.config.dtype_policy().name == before == "float32"


@pytest.mark.usefixtures("unchanged_policy")
def test_mixed_bfloat16(weights, shared, noise):
    unet = Unet(weights, precision="mixed_bfloat16")
    assert unet.precision_reason == "precision: mixed_bfloat16, as set."
    assert unet.model.get_layer("block1_conv1").compute_dtype == "bfloat16"
    assert unet.model.get_layer("head_conv").compute_dtype == "float32"
    mask = unet.predict_array(noise)
    assert (mask.shape, mask.dtype) == (noise.shape[:2], np.uint8)
    # bfloat16 rounds: single pixels on edges between classes may fall to the other side.
    assert np.mean(mask == shared.predict_array(noise)) > 0.9


@pytest.mark.usefixtures("unchanged_policy")
def test_a_failure_leaves_the_policy_alone(plain, tmp_path):
    path = tmp_path / "one_layer_less.weights.h5"
    path.write_bytes(plain.read_bytes())
    with h5py.File(path, "a") as file:
        groups = (layer["vars"] for layer in file["layers"].values() if "vars" in layer)
        group = next(group for group in groups if group.attrs.get("name") == "decoder2_conv1")
        del file[group.name]
    with pytest.raises(UserError, match="does not fit this network"):
        Unet(path, precision="mixed_bfloat16")


@pytest.mark.usefixtures("unchanged_policy")
def test_auto_takes_what_the_measurement_says(weights, monkeypatch):
    chosen = "mixed_bfloat16", "a reason"
    monkeypatch.setattr(
        "nets.trained.choose_precision", lambda *given: {("auto", ""): chosen}[given]
    )
    unet = Unet(weights)
    assert unet.precision_reason == "a reason"
    assert unet.model.get_layer("block1_conv1").compute_dtype == "bfloat16"


@pytest.fixture(scope="module")
def banded(tmp_path_factory):
    """banded(count): a Unet for images with so many channels."""
    made = {}

    def make(count):
        if count not in made:
            description = dataclasses.replace(DESCRIPTION, in_channels=count)
            path = tmp_path_factory.mktemp("bands") / f"{count}.weights.h5"
            save_weights(networks.build(description), path, description)
            made[count] = Unet(path, precision="float32")
        return made[count]

    return make


@pytest.mark.parametrize("count", [1, 4, 5])
def test_the_file_says_how_many_channels(banded, tmp_path, rng, count):
    unet = banded(count)
    assert unet.model.input_shape == (None, 32, 48, count)
    pixels = rng.integers(0, 256, (40, 50, count)).astype(np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels.squeeze(), photometric="minisblack", planarconfig="contig")
    (outcome,) = unet.predict_files([path])
    read, mask = outcome.value
    np.testing.assert_array_equal(read, pixels)
    np.testing.assert_array_equal(mask, unet.predict_array(pixels))
    shown = pixels[..., :3] if count > 3 else pixels.repeat(3, axis=2)
    for out in (None, pixels.copy()):
        image = pixels if out is None else out
        drawn = unet.draw(image, np.ones((40, 50), np.uint8), out=out)
        np.testing.assert_allclose(drawn, 0.3 * shown + 0.7 * COLORS[1], atol=0.51)
    assert unet.get_FPS(pixels, 1) > 0


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3), (1, 40, 50, 5)])
def test_arrays_of_other_shapes_are_refused(banded, shape):
    with pytest.raises(UserError) as caught:
        banded(5).predict_array(np.zeros(shape, np.uint8))
    assert str(caught.value) == f"The network takes arrays (height, width, 5); got {shape}."


def test_images_with_the_network_s_channels_are_detected(banded, rng):
    pixels = rng.integers(0, 256, (40, 50, 4)).astype(np.uint8)
    image = Image.fromarray(pixels)
    expected = banded(4).predict_array(pixels)
    np.testing.assert_array_equal(np.array(banded(4).get_miou_png(image)), expected)
    assert banded(4).detect_image(image).size == (50, 40)
    grey = np.array(image.convert("L"))[..., None]
    np.testing.assert_array_equal(
        np.array(banded(1).get_miou_png(image)), banded(1).predict_array(grey)
    )


def test_images_with_other_channels_are_refused(banded):
    for function in (banded(5).detect_image, banded(5).get_miou_png):
        with pytest.raises(UserError) as caught:
            function(Image.new("RGBA", (50, 40)))
        assert str(caught.value) == (
            "The network takes images with 5 channels, but this one, of mode RGBA, has 4. Give the "
            "path of a TIFF file, or an array (height, width, 5), to predict."
        )


def test_a_network_of_windows_predicts_at_the_scale_of_training(network, tmp_path, rng):
    described = dataclasses.replace(DESCRIPTION, input_shape=(96, 144), window=(32, 48))
    path = tmp_path / "windows.weights.h5"
    save_weights(network, path, described)
    unet = Unet(path, precision="float32")
    assert unet.description.window == (32, 48)
    assert unet.model.input_shape == (None, 32, 48, 3)
    image = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    mask = unet.predict_array(image)
    expected = predict_windows(network.predict_on_batch, image, (96, 144), (32, 48))
    np.testing.assert_array_equal(mask, expected)
    assert mask.shape == (50, 60)
    Image.fromarray(image).save(tmp_path / "image.png")
    (outcome,) = unet.predict_files([tmp_path / "image.png"], batch_size=2)
    assert (outcome.value[1] == mask).mean() > 0.999


# Thresholds, small regions, and what is kept


@pytest.mark.parametrize("tile", [None, True])
def test_thresholds_and_small_regions(weights, images, noise, tile):
    plain = Unet(weights, precision="float32", tile=tile)
    unet = Unet(
        weights, precision="float32", tile=tile, threshold={NAMES[1]: 0.3, "2": 0.9}, min_region=40
    )
    assert unet.decision == Decision(((1, 0.3), (2, 0.9)), 40)
    keep = Keep(True, "float32")
    mask, details = plain.predict_details(noise, keep)
    np.testing.assert_array_equal(mask, plain.predict_array(noise))
    np.testing.assert_array_equal(details.probabilities.argmax(axis=-1), mask)
    chosen = Decision(((1, 0.3), (2, 0.9))).classes_of(details.probabilities)
    assert np.any(chosen != mask)
    expected = drop_small_regions(chosen, 40)
    np.testing.assert_array_equal(unet.predict_array(noise), expected)
    found, more = unet.predict_details(noise, keep)
    np.testing.assert_array_equal(found, expected)
    for one, other in zip(more, details, strict=True):
        np.testing.assert_array_equal(one, other)
    for outcome in unet.predict_files(images, 2, keep=keep):
        if not outcome.error:
            pixels, mask, details = outcome.value
            chosen = Decision(((1, 0.3), (2, 0.9))).classes_of(details.probabilities)
            np.testing.assert_array_equal(mask, drop_small_regions(chosen, 40))
            assert details.confidence.shape == pixels.shape[:2]


def test_probabilities_that_take_too_much_memory(weights, noise, images, monkeypatch):
    unet = Unet(weights, precision="float32")
    monkeypatch.setattr("utils.prediction.decide._MOST_BYTES", 40 * 50 * 3 * 4 - 1)
    keep = Keep(False, "float32")
    message = "The probabilities of an image of 50x40 pixels and 3 classes take"
    with pytest.raises(UserError, match=message):
        unet.predict_details(noise, keep)
    unet.predict_details(noise, Keep(False, "float16"))
    errors = [str(outcome.error) for outcome in unet.predict_files(images, keep=keep)]
    assert any("The probabilities of an image of" in error for error in errors)


def test_a_threshold_of_no_class_is_refused(weights):
    with pytest.raises(UserError, match="threshold names the class 'nuclei'"):
        Unet(weights, precision="float32", threshold={"nuclei": 0.3})


# Arrays


@pytest.mark.parametrize("mix_type", [0, 1, 2, 3])
def test_the_caller_s_array_is_not_painted_over(fixed, noise, mix_type):
    unet = fixed(np.ones((40, 50), np.uint8), mix_type=mix_type)
    expected = np.array(unet.detect_image(Image.fromarray(noise)))
    given = noise.copy()
    given.flags.writeable = False
    np.testing.assert_array_equal(np.array(unet.detect_image(given)), expected)
    np.testing.assert_array_equal(given, noise)


@pytest.mark.parametrize(
    ("dtype", "factor"),
    [("uint16", 257), ("float32", 1 / 255), ("float64", 1), ("int64", 1), (">i4", 257)],
)
def test_arrays_of_other_numbers_are_images_of_8_bits(shared, noise, dtype, factor):
    noise[0, 0] = 255  # the scale of a kind of numbers is told by the largest
    given = (noise * np.float64(factor)).astype(dtype)
    np.testing.assert_array_equal(shared.predict_array(given), shared.predict_array(noise))
    assert shared.detect_image(given).tobytes() == shared.detect_image(noise).tobytes()
    assert shared.get_miou_png(given).tobytes() == shared.get_miou_png(noise).tobytes()


def test_views_of_arrays_are_images_too(shared, noise):
    mask = shared.predict_array(np.ascontiguousarray(noise[::-1, :, ::-1]))
    np.testing.assert_array_equal(shared.predict_array(noise[::-1, :, ::-1]), mask)
    black_and_white = noise > 100
    expected = shared.predict_array(black_and_white.astype(np.uint8) * 255)
    np.testing.assert_array_equal(shared.predict_array(black_and_white), expected)


@pytest.mark.parametrize("method", ["detect_image", "get_miou_png", "predict_array"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((0, 5, 3), np.uint8), r"has no pixels: its array has the shape \(0, 5, 3\)"),
        (np.zeros((5, 0, 3), np.uint8), r"has no pixels: its array has the shape \(5, 0, 3\)"),
        (np.zeros((5, 5), np.uint8), r"takes arrays \(height, width, 3\); got \(5, 5\)"),
        (np.zeros((5, 5, 3), complex), r"array of complex128. Give uint8, 0 to 255, or"),
        (np.full((5, 5, 3), "a"), r"array of <U1. Give uint8"),
        (np.full((5, 5, 3), -7, np.int8), r"int8 with numbers from -7 to -7. Expected none below"),
        (np.linspace(-1, 1, 75).reshape(5, 5, 3), r"float64 with numbers from -1 to 1. .* itself"),
        ("a.jpg", r"is a str. Expected a PIL.Image or a NumPy array; of a file, Image.open"),
        ([[[1, 2, 3]]], r"is a list. Expected"),
        (None, r"is a NoneType. Expected"),
    ],
)
def test_what_is_no_image_is_refused(shared, method, given, message):
    with pytest.raises(UserError, match=message):
        getattr(shared, method)(given)


def test_an_array_of_too_many_pixels_is_refused(shared, monkeypatch):
    monkeypatch.setattr(shared, "max_pixels", 24)
    with pytest.raises(UserError, match=r"image given as an array has 5x5 = 25 pixels; max_pixels"):
        shared.predict_array(np.zeros((5, 5, 3), np.uint8))


# Number format


@pytest.mark.parametrize(
    ("trained", "policy"), [("float32", "float32"), ("mixed_bfloat16", "mixed_bfloat16")]
)
def test_it_computes_as_in_training(network, tmp_path, monkeypatch, trained, policy):
    # A machine that would choose the other one.
    monkeypatch.setattr("nets.precision._has_gpu", lambda: False)
    monkeypatch.setattr("nets.precision.bfloat16_units", lambda: ["amx_bf16"])
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    path = tmp_path / "of.weights.h5"
    save_weights(network, path, dataclasses.replace(DESCRIPTION, precision=trained))
    unet = Unet(path)
    assert unet.model.layers[2].dtype_policy.name == policy
    assert unet.precision_reason == f"precision: {policy}, as in training."
