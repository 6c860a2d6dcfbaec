"""The prompt, pictures given by name, and where results go."""

import builtins
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

import predict
from errors import UserError
from nets import unet as networks
from nets.weights import Description, save_weights
from predict import PredictConfig, has_display
from utils.config import load_config, run_script

PROMPT = "Input image filename: "


class FakeUnet:
    """Stands for the network: its result is the picture turned upside down."""

    made = ()  # the arguments of the last one

    def __init__(self, *args, **options):
        FakeUnet.made = args, options
        self.precision_reason = "precision: none."

    def detect_image(self, image, count=False):
        if count:
            print("a table")
        return Image.fromarray(np.array(image.convert("RGB"))[::-1])


@pytest.fixture
def fake(monkeypatch):
    """Takes the place of the module `unet`, which takes seconds to load."""
    monkeypatch.setitem(sys.modules, "unet", SimpleNamespace(Unet=FakeUnet))


@pytest.fixture
def shown(monkeypatch):
    """The sizes of the pictures that windows were opened for."""
    sizes = []
    monkeypatch.setattr(Image.Image, "show", lambda image: sizes.append(image.size))
    return sizes


@pytest.fixture
def display(monkeypatch):
    """display(present): decides whether there is a display."""
    return lambda present: monkeypatch.setattr(predict, "has_display", lambda: present)


@pytest.fixture
def type_in(monkeypatch):
    """type_in(*lines): what the user types; then the input ends. Returns the prompts."""
    prompts = []

    def script(*lines):
        left = list(lines)

        def answer(prompt=""):
            prompts.append(prompt)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr(builtins, "input", answer)
        return prompts

    return script


@pytest.fixture
def picture(tmp_path, rng, write_picture):
    """picture(name): writes a picture of noise, 6x4; returns its path and what is drawn."""

    def make(name="street.png"):
        pixels = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)
        return write_picture(tmp_path / "in" / name, pixels), pixels[::-1]

    return make


@pytest.fixture
def out(tmp_path):
    """Where results go; made by the script."""
    return tmp_path / "results" / "here"


def assert_result(path, expected):
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.array(image), expected)


# The prompt


@pytest.mark.usefixtures("fake")
def test_each_path_is_segmented_until_the_input_ends(picture, out, type_in, display, capsys):
    display(False)
    (first, first_drawn), (second, second_drawn) = picture("a.png"), picture("b.png")
    prompts = type_in(str(first), str(second))
    assert predict.main(PredictConfig(dir_save_path=str(out))) == 0
    assert prompts == [PROMPT] * 3
    assert_result(out / "a.png", first_drawn)
    assert_result(out / "b.png", second_drawn)
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "precision: none.",
        f"saved {out / 'a.png'}",
        f"saved {out / 'b.png'}",
    ]
    assert printed.err == ""


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("empty", ["", "   ", "''", '""', "\t"])
def test_an_empty_line_ends_the_prompt(picture, out, type_in, empty):
    path, _ = picture()
    prompts = type_in(empty, str(path))
    assert predict.main(PredictConfig(dir_save_path=str(out))) == 0
    assert prompts == [PROMPT]
    assert not out.exists()


@pytest.mark.usefixtures("fake")
def test_a_bad_path_is_one_line_and_the_prompt_again(
    picture, out, tmp_path, type_in, display, capsys
):
    display(False)
    path, drawn = picture()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    missing = tmp_path / "none.jpg"
    type_in(str(missing), str(broken), str(tmp_path), "a\0b", str(path))
    assert predict.main(PredictConfig(dir_save_path=str(out))) == 0
    assert_result(out / "street.png", drawn)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"error: There is no file {missing}."
    assert lines[1].startswith(f"error: The picture {broken} can't be read: ")
    assert lines[2].startswith(f"error: The picture {tmp_path} can't be read: ")
    assert lines[3].startswith("error: The picture a\0b can't be read: ")
    assert len(lines) == 4
    assert [file.name for file in out.iterdir()] == ["street.png"]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("around", ["{}", "'{}'", '"{}"', "  {} ", ' "{}"  '])
@pytest.mark.parametrize("name", ["two words.png", "猫.和.狗.png", "it's.png"])
def test_pasted_paths(picture, out, type_in, display, around, name):
    display(False)
    path, drawn = picture(name)
    type_in(around.format(path))
    predict.main(PredictConfig(dir_save_path=str(out)))
    assert_result(out / name, drawn)


@pytest.mark.usefixtures("fake")
def test_a_cut_off_picture_is_refused(picture, out, type_in, capsys):
    path, _ = picture("street.jpg")
    path.write_bytes(path.read_bytes()[:-40])
    type_in(str(path))
    assert predict.main(PredictConfig(dir_save_path=str(out))) == 0
    assert f"error: The picture {path} can't be read: " in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("present", "sizes"), [(True, [(6, 4)]), (False, [])])
def test_the_result_is_shown_where_there_is_a_display(
    picture, out, type_in, display, shown, capsys, present, sizes
):
    display(present)
    path, drawn = picture()
    type_in(str(path))
    predict.main(PredictConfig(dir_save_path=str(out)))
    assert shown == sizes
    assert_result(out / "street.png", drawn)
    assert f"saved {out / 'street.png'}" in capsys.readouterr().out


# Pictures by name


@pytest.mark.usefixtures("fake")
def test_pictures_given_by_name_are_not_asked_for_and_not_shown(
    picture, out, type_in, display, shown
):
    display(True)
    (first, first_drawn), (second, second_drawn) = picture("a.png"), picture("b.jpg")
    prompts = type_in()
    config = PredictConfig(image=(str(first), str(second)), dir_save_path=str(out))
    assert predict.main(config) == 0
    assert (prompts, shown) == ([], [])
    assert_result(out / "a.png", first_drawn)
    # The second one is a JPEG, whose pixels are near those that were saved.
    with Image.open(out / "b.png") as image:
        assert (image.format, image.size) == ("PNG", second_drawn.shape[1::-1])


@pytest.mark.usefixtures("fake")
def test_one_that_fails_gives_status_1_and_the_others_are_done(picture, out, tmp_path, capsys):
    (first, first_drawn), (last, last_drawn) = picture("a.png"), picture("z.png")
    missing = tmp_path / "missing.png"
    config = PredictConfig(image=(str(first), str(missing), str(last)), dir_save_path=str(out))
    with pytest.raises(SystemExit) as caught:
        run_script(lambda: predict.main(config))
    assert caught.value.code == 1
    assert_result(out / "a.png", first_drawn)
    assert_result(out / "z.png", last_drawn)
    assert capsys.readouterr().err == f"error: There is no file {missing}.\n"


@pytest.mark.usefixtures("fake")
def test_pictures_of_one_name_get_a_result_each(picture, out, capsys):
    pictures = [picture(f"{folder}/a.png") for folder in ("one", "two", "three")]
    config = PredictConfig(image=tuple(str(path) for path, _ in pictures), dir_save_path=str(out))
    assert predict.main(config) == 0
    targets = [out / name for name in ("a.png", "a_2.png", "a_3.png")]
    for target, (_, drawn) in zip(targets, pictures, strict=True):
        assert_result(target, drawn)
    assert capsys.readouterr().out.splitlines()[1:] == [f"saved {target}" for target in targets]


@pytest.mark.usefixtures("fake")
def test_the_same_picture_again_replaces_its_result(picture, out, type_in, display):
    display(False)
    (first, _), (second, drawn) = picture("one/a.png"), picture("two/a.png")
    type_in(str(first), str(second), str(first), str(second))
    predict.main(PredictConfig(dir_save_path=str(out)))
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "a_2.png"]
    assert_result(out / "a_2.png", drawn)


@pytest.mark.usefixtures("fake")
def test_a_picture_in_the_folder_of_results_is_kept(picture):
    path, drawn = picture()
    before = path.read_bytes()
    predict.main(PredictConfig(image=(str(path),), dir_save_path=str(path.parent)))
    assert path.read_bytes() == before
    assert_result(path.with_name("street_2.png"), drawn)


@pytest.mark.usefixtures("fake")
def test_a_picture_that_is_still_to_come_is_kept(picture):
    (first, _), (second, _) = picture("one/a.png"), picture("results/a.png")
    before = second.read_bytes()
    config = PredictConfig(image=(str(first), str(second)), dir_save_path=str(second.parent))
    predict.main(config)
    assert second.read_bytes() == before


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("count", "table"), [(True, ["a table"]), (False, [])])
def test_counting_is_a_setting(picture, out, capsys, count, table):
    path, _ = picture()
    predict.main(PredictConfig(image=(str(path),), count=count, dir_save_path=str(out)))
    saved = f"saved {out / 'street.png'}"
    assert capsys.readouterr().out.splitlines() == ["precision: none.", *table, saved]


# Settings


@pytest.mark.usefixtures("fake")
def test_settings_reach_the_network(monkeypatch):
    line = (
        "--model_path my.weights.h5 --num_classes 3 --backbone vgg --input_shape 64,96 "
        "--mix_type 2 --precision float32 --name_classes a,b,c --image no.png"
    )
    monkeypatch.setattr(sys, "argv", ["predict.py", *line.split()])
    assert predict.main() == 1  # there is no such picture
    args, options = FakeUnet.made
    assert args == ("my.weights.h5", 3, "vgg", (64, 96), 2, "float32", ("a", "b", "c"))
    assert options == {}


def test_an_unknown_mode_is_refused():
    with pytest.raises(UserError) as caught:
        load_config(PredictConfig, ["--mode", "vidio"])
    known = ", ".join(predict.MODES)
    assert str(caught.value) == f"mode must be one of {known}; got 'vidio'."


def test_an_unknown_mix_type_is_refused_at_once():
    with pytest.raises(UserError, match="mix_type must be one of"):
        PredictConfig(mix_type=3)


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("win32", {}, True),
        ("darwin", {}, True),
    ],
)
def test_has_display(monkeypatch, platform, environment, expected):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # The module's own name, for others still need the real platform.
    monkeypatch.setattr(predict, "sys", SimpleNamespace(platform=platform))
    assert has_display() is expected


# With a real network


def test_a_real_network(picture, out, tmp_path, capsys):
    keras.utils.set_random_seed(0)
    network = networks.Unet((None, None, 3), 2, width=8)
    kernel, _ = network.get_layer("head_conv").get_weights()
    # A bias that no picture overcomes: everything is class 1.
    network.get_layer("head_conv").set_weights([kernel, np.array([0, 1e6])])
    weights = tmp_path / "tiny.weights.h5"
    save_weights(network, weights, Description(2, "vgg", (32, 32), ("nothing", "cat"), 8))
    path, _ = picture()
    config = PredictConfig(
        model_path=str(weights),
        image=(str(path),),
        mix_type=1,
        count=True,
        precision="float32",
        dir_save_path=str(out),
    )
    assert predict.main(config) == 0
    assert_result(out / "street.png", np.full((4, 6, 3), (128, 0, 0)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "precision: float32, as set."
    assert lines[2].split() == ["cat", "24", "100.00%"]


def test_bad_weights_are_refused_before_anything_is_asked(tmp_path, type_in, out):
    path = tmp_path / "no.weights.h5"
    path.write_text("no weights")
    prompts = type_in("street.png")
    with pytest.raises(UserError, match="is no weights file, or is broken"):
        predict.main(PredictConfig(model_path=str(path), dir_save_path=str(out)))
    assert prompts == []
    assert not Path(out).exists()
