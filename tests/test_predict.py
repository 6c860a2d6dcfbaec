"""The prompt, images given by name, and where results go."""

import builtins
import csv
import dataclasses
import gc
import os
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tifffile
from PIL import Image

import predict
from errors import UserError
from nets import unet as networks
from nets.weights.description import Description
from nets.weights.storage import save_weights
from predict import PredictConfig
from utils.config import load_config, run_script
from utils.images.channels import to_rgb
from utils.images.reading import read_image
from utils.labels import voc_palette
from utils.prediction.stream import Outcome

PROMPT = "Input image filename: "


class FakeUnet:
    """Stands for the network: bright pixels are cells, and drawings stand upside down."""

    made = ()  # the arguments of the last one

    def __init__(self, *args, **options):
        FakeUnet.made = args, options
        FakeUnet.last = self
        self.precision_reason = "precision: none."
        self.size_reason = ""
        self.report = "weights: none."
        self.description = Description(2, "vgg", (32, 32), ("nothing", "cell"), 8)
        self.colors = voc_palette(256)
        self.model = "the network"
        self.max_pixels = options["max_pixels"]
        self.read = []

    def predict_array(self, image, progress=False):
        return (image[..., 0] > 127).astype(np.uint8)

    def predict_files(self, paths, batch_size=4, finish=None, title="", progress=False):
        self.batch_size, self.title, self.progress = batch_size, title, progress
        for path in paths:
            self.read.append(path)
            try:
                pixels = read_image(path, self.max_pixels)
                yield Outcome(path, finish(path, pixels, self.predict_array(pixels)), None)
            except UserError as error:
                yield Outcome(path, None, error)

    def draw(self, pixels, mask, legend=False, out=None):
        if legend:
            return np.zeros((len(mask) + 1, mask.shape[1], 3), np.uint8)
        out[:] = pixels[::-1].copy()
        return out

    def time_stages(self, image, test_interval):
        self.timed = image.shape, test_interval
        # 1, 2, ... milliseconds for one stage, and as many seconds for another.
        rounds = np.arange(1.0, test_interval + 1)
        return {
            "preprocess": rounds / 1e3,
            "network": rounds,
            "postprocess": np.full(test_interval, 0.25),
        }


@pytest.fixture
def fake(monkeypatch):
    """Takes the place of the module `unet`, which takes seconds to load."""
    monkeypatch.setitem(sys.modules, "unet", SimpleNamespace(Unet=FakeUnet))


@pytest.fixture
def shown(monkeypatch):
    """The sizes of the images that windows were opened for."""
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
def image(tmp_path, rng, write_image):
    """image(name): writes an image of noise, 6x4; returns its path and what is drawn."""

    def make(name="street.png"):
        pixels = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)
        return write_image(tmp_path / "in" / name, pixels), pixels[::-1]

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
def test_each_path_is_segmented_until_the_input_ends(image, out, type_in, display, capsys):
    display(False)
    (first, first_drawn), (second, second_drawn) = image("a.png"), image("b.png")
    prompts = type_in(str(first), str(second))
    assert predict.main(PredictConfig(dir_save_path=str(out))) == 0
    assert prompts == [PROMPT] * 3
    assert_result(out / "a.png", first_drawn)
    assert_result(out / "b.png", second_drawn)
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "weights: none.",
        "precision: none.",
        f"saved {out / 'a.png'}",
        f"saved {out / 'b.png'}",
    ]
    assert printed.err == ""


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("empty", ["", "   ", "''", '""', "\t"])
def test_an_empty_line_ends_the_prompt(image, out, type_in, empty):
    path, _ = image()
    prompts = type_in(empty, str(path))
    assert predict.main(PredictConfig(dir_save_path=str(out))) == 0
    assert prompts == [PROMPT]
    assert not out.exists()


@pytest.mark.usefixtures("fake")
def test_a_bad_path_is_one_line_and_the_prompt_again(
    image, out, tmp_path, type_in, display, capsys
):
    display(False)
    path, drawn = image()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    missing = tmp_path / "none.jpg"
    type_in(str(missing), str(broken), str(tmp_path), "a\0b", str(path))
    assert predict.main(PredictConfig(dir_save_path=str(out))) == 0
    assert_result(out / "street.png", drawn)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"error: There is no file {missing}."
    assert lines[1].startswith(f"error: The image {broken} can't be read: ")
    assert lines[2].startswith(f"error: The image {tmp_path} can't be read: ")
    assert lines[3].startswith("error: The image a\0b can't be read: ")
    assert len(lines) == 4
    assert [file.name for file in out.iterdir()] == ["street.png"]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("around", ["{}", "'{}'", '"{}"', "  {} ", ' "{}"  '])
@pytest.mark.parametrize("name", ["two words.png", "猫.和.狗.png", "it's.png"])
def test_pasted_paths(image, out, type_in, display, around, name):
    display(False)
    path, drawn = image(name)
    type_in(around.format(path))
    predict.main(PredictConfig(dir_save_path=str(out)))
    assert_result(out / name, drawn)


@pytest.mark.usefixtures("fake")
def test_a_cut_off_image_is_refused(image, out, type_in, capsys):
    path, _ = image("street.jpg")
    path.write_bytes(path.read_bytes()[:-40])
    type_in(str(path))
    assert predict.main(PredictConfig(dir_save_path=str(out))) == 0
    assert f"error: The image {path} can't be read: " in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("present", "sizes"), [(True, [(6, 4)]), (False, [])])
def test_the_result_is_shown_where_there_is_a_display(
    image, out, type_in, display, shown, capsys, present, sizes
):
    display(present)
    path, drawn = image()
    type_in(str(path))
    predict.main(PredictConfig(dir_save_path=str(out)))
    assert shown == sizes
    assert_result(out / "street.png", drawn)
    assert f"saved {out / 'street.png'}" in capsys.readouterr().out


# Images by name


@pytest.mark.usefixtures("fake")
def test_images_given_by_name_are_not_asked_for_and_not_shown(image, out, type_in, display, shown):
    display(True)
    (first, first_drawn), (second, second_drawn) = image("a.png"), image("b.jpg")
    prompts = type_in()
    config = PredictConfig(image=(str(first), str(second)), dir_save_path=str(out))
    assert predict.main(config) == 0
    assert (prompts, shown) == ([], [])
    assert_result(out / "a.png", first_drawn)
    # The second one is a JPEG, whose pixels are near those that were saved.
    with Image.open(out / "b.png") as opened:
        assert (opened.format, opened.size) == ("PNG", second_drawn.shape[1::-1])


@pytest.mark.usefixtures("fake")
def test_one_that_fails_gives_status_1_and_the_others_are_done(image, out, tmp_path, capsys):
    (first, first_drawn), (last, last_drawn) = image("a.png"), image("z.png")
    missing = tmp_path / "missing.png"
    config = PredictConfig(image=(str(first), str(missing), str(last)), dir_save_path=str(out))
    with pytest.raises(SystemExit) as caught:
        run_script(lambda: predict.main(config))
    assert caught.value.code == 1
    assert_result(out / "a.png", first_drawn)
    assert_result(out / "z.png", last_drawn)
    assert capsys.readouterr().err == f"error: There is no file {missing}.\n"


@pytest.mark.usefixtures("fake")
def test_images_of_one_name_get_a_result_each(image, out, capsys):
    images = [image(f"{folder}/a.png") for folder in ("one", "two", "three")]
    config = PredictConfig(image=tuple(str(path) for path, _ in images), dir_save_path=str(out))
    assert predict.main(config) == 0
    targets = [out / name for name in ("a.png", "a_2.png", "a_3.png")]
    for target, (_, drawn) in zip(targets, images, strict=True):
        assert_result(target, drawn)
    assert capsys.readouterr().out.splitlines()[2:] == [f"saved {target}" for target in targets]


@pytest.mark.usefixtures("fake")
def test_the_same_image_again_replaces_its_result(image, out, type_in, display):
    display(False)
    (first, _), (second, drawn) = image("one/a.png"), image("two/a.png")
    type_in(str(first), str(second), str(first), str(second))
    predict.main(PredictConfig(dir_save_path=str(out)))
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "a_2.png"]
    assert_result(out / "a_2.png", drawn)


@pytest.mark.usefixtures("fake")
def test_an_image_in_the_folder_of_results_is_kept(image):
    path, drawn = image()
    before = path.read_bytes()
    predict.main(PredictConfig(image=(str(path),), dir_save_path=str(path.parent)))
    assert path.read_bytes() == before
    assert_result(path.with_name("street_2.png"), drawn)


@pytest.mark.usefixtures("fake")
def test_an_image_that_is_still_to_come_is_kept(image):
    (first, _), (second, _) = image("one/a.png"), image("results/a.png")
    before = second.read_bytes()
    config = PredictConfig(image=(str(first), str(second)), dir_save_path=str(second.parent))
    predict.main(config)
    assert second.read_bytes() == before


@pytest.mark.usefixtures("fake")
def test_patterns_stand_for_the_images_that_they_match(image, out, tmp_path):
    for name in ("b.tif", "a.tif", "c.png"):
        image(name)
    config = PredictConfig(image=(str(tmp_path / "in" / "*.tif"),), dir_save_path=str(out))
    assert predict.main(config) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]


@pytest.mark.usefixtures("fake")
def test_a_pattern_without_a_match_is_one_line(out, tmp_path, capsys):
    pattern = str(tmp_path / "*.tif")
    assert predict.main(PredictConfig(image=(pattern,), dir_save_path=str(out))) == 1
    assert capsys.readouterr().err == f"error: There is no file {pattern}.\n"


@pytest.mark.usefixtures("fake")
def test_an_image_of_more_than_max_pixels_is_one_line(image, out, capsys):
    path, _ = image()
    config = PredictConfig(image=(str(path),), dir_save_path=str(out), max_pixels=23)
    assert predict.main(config) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: The image {path} has 6x4 = 24 pixels; max_pixels is 23.")
    assert not out.exists()


@pytest.mark.usefixtures("fake")
def test_a_legend_is_a_setting(image, out):
    path, _ = image()
    predict.main(PredictConfig(image=(str(path),), legend=True, dir_save_path=str(out)))
    assert_result(out / "street.png", np.zeros((5, 6, 3)))


@pytest.mark.usefixtures("fake")
def test_without_counting_nothing_but_the_image_is_written(image, out, capsys):
    path, _ = image()
    predict.main(PredictConfig(image=(str(path),), dir_save_path=str(out)))
    saved = f"saved {out / 'street.png'}"
    assert capsys.readouterr().out.splitlines() == ["weights: none.", "precision: none.", saved]
    assert os.listdir(out) == ["street.png"]


@pytest.mark.usefixtures("fake")
def test_counting_prints_a_table_and_writes_the_regions(out, tmp_path, write_image, capsys):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[1:3, 0:2] = pixels[0, 4:] = 255
    path = write_image(tmp_path / "two cells.png", pixels)
    config = PredictConfig(image=(str(path),), count=True, pixel_size=0.5, dir_save_path=str(out))
    predict.main(config)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[3:5]] == [["nothing", "18"], ["cell", "6"]]
    with open(out / "two cells_regions.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {row["picture"] for row in rows} == {"two cells.png"}
    measured = [(row["class"], row["region"], row["area_px"], row["area_units2"]) for row in rows]
    assert measured == [
        ("cell", "1", "2", "0.5"),
        ("cell", "2", "4", "1"),
    ]


# A folder


@pytest.fixture
def folder(image, tmp_path, out):
    """folder(**settings): segments a folder of four images; returns the exit status."""
    names = ("b.png", "a.tif", "sub/c.png", "sub/deep/d.bmp")
    drawn = {name: image(name)[1] for name in names}

    def segment(**settings):
        config = PredictConfig(
            mode="dir_predict",
            dir_origin_path=str(tmp_path / "in"),
            dir_save_path=str(out),
            **settings,
        )
        return predict.main(config)

    segment.drawn = drawn
    return segment


def written(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


@pytest.mark.usefixtures("fake")
def test_a_folder_and_the_folders_in_it(folder, out, capsys):
    assert folder(batch_size=3) == 0
    stems = ["a", "b", "sub/c", "sub/deep/d"]
    assert written(out) == sorted(f"{stem}{end}" for stem in stems for end in (".png", "_mask.png"))
    for (name, drawn), stem in zip(sorted(folder.drawn.items()), stems, strict=True):
        assert_result(out / f"{stem}.png", drawn)
        with Image.open(out / f"{stem}_mask.png") as mask:
            assert (mask.format, mask.mode) == ("PNG", "P")
            expected = drawn[::-1, :, 0] > 127
            np.testing.assert_array_equal(np.array(mask), expected, name)
    assert (FakeUnet.last.batch_size, FakeUnet.last.progress) == (3, True)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == f"4 images are segmented; {out} holds them."
    assert printed.err == ""


@pytest.mark.usefixtures("fake")
def test_broken_images_are_told_of_at_the_end_and_stop_nothing(
    folder, image, out, tmp_path, capsys
):
    for name in ("aa.jpg", "sub/z.png"):
        image(name)
        (tmp_path / "in" / name).write_bytes(b"no image")
    assert folder() == 1
    assert len(written(out)) == 8
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == f"4 images are segmented; {out} holds them."
    lines = printed.err.splitlines()
    assert lines[0] == "error: 2 of 6 images failed:"
    assert lines[1].startswith(f"  The image {tmp_path / 'in' / 'aa.jpg'} can't be read: ")
    assert lines[2].startswith(f"  The image {tmp_path / 'in' / 'sub' / 'z.png'} can't be read")
    assert len(lines) == 3


@pytest.mark.usefixtures("fake")
def test_images_of_more_than_max_pixels_are_told_of(folder, image, tmp_path, capsys):
    with Image.open(image("b.png")[0]) as opened:
        opened.resize((5, 5)).save(tmp_path / "in" / "large.png")
    assert folder(max_pixels=24) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: 1 of 5 images failed:"
    assert "large.png has 5x5 = 25 pixels; max_pixels is 24." in lines[1]


@pytest.mark.usefixtures("fake")
def test_errors_do_not_keep_what_they_came_from(folder, monkeypatch):
    alive = []

    def predict_files(self, paths, *_, **__):
        for path in paths:
            error = UserError("broken")
            alive.append(weakref.ref(error))
            yield Outcome(path, None, error)
            del error
            gc.collect()
            # All but the last are let go: of thousands, files would otherwise stay open.
            assert sum(one() is not None for one in alive) <= 1

    monkeypatch.setattr(FakeUnet, "predict_files", predict_files)
    assert folder() == 1
    assert len(alive) == 4


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("count", [True, False])
def test_resume_takes_up_where_a_run_ended(folder, out, capsys, count):
    folder(count=count)
    kept = ["a", "sub/deep/d"]
    (out / "b_mask.png").unlink()
    (out / "sub" / "c.png").unlink()
    before = {name: (out / f"{name}.png").stat().st_mtime_ns for name in kept}
    capsys.readouterr()
    assert folder(count=count, resume=True) == 0
    assert [path.name for path in FakeUnet.last.read] == ["b.png", "c.png"]
    assert before == {name: (out / f"{name}.png").stat().st_mtime_ns for name in kept}
    assert_result(out / "sub" / "c.png", folder.drawn["sub/c.png"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 of 4 images have their results already."
    assert len(written(out)) == (13 if count else 8)  # one for the folder


@pytest.mark.usefixtures("fake")
def test_resume_counts_the_table_of_regions_only_where_it_is_asked_for(folder, out):
    folder()
    folder(count=True, resume=True)
    assert len(FakeUnet.last.read) == 4
    assert len(written(out)) == 13


def test_resume_with_nothing_left_loads_no_network(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "unet", SimpleNamespace(Unet=FakeUnet))
    folder()
    monkeypatch.delitem(sys.modules, "unet")
    monkeypatch.setattr(predict, "load_unet", lambda config: pytest.fail("loaded"))
    capsys.readouterr()
    assert folder(resume=True) == 0
    assert capsys.readouterr().out == "4 of 4 images have their results already.\n"


@pytest.mark.usefixtures("fake")
def test_without_resume_everything_is_done_anew(folder, out):
    folder()
    (out / "a.png").write_bytes(b"of an earlier run")
    folder()
    assert_result(out / "a.png", folder.drawn["a.tif"])
    assert len(FakeUnet.last.read) == 4


@pytest.mark.usefixtures("fake")
def test_the_coloured_image_is_written_last(folder, out, monkeypatch):
    def fail(path, pixels):
        raise OSError("the disk is full")

    monkeypatch.setattr("utils.images.writing.save_png", fail)
    with pytest.raises(OSError, match="the disk is full"):
        folder(count=True)
    # So that resume, which looks for all of them, misses nothing.
    assert written(out) == ["a_mask.png", "a_regions.csv"]


def test_a_bad_folder_is_refused_before_the_network_loads(tmp_path):
    config = PredictConfig(mode="dir_predict", dir_origin_path=str(tmp_path / "none"))
    with pytest.raises(UserError, match="There is no folder"):
        predict.main(config)


# Speed


@pytest.mark.usefixtures("fake")
def test_each_stage_is_timed(image, capsys):
    path, _ = image()
    config = PredictConfig(mode="fps", fps_image_path=str(path), test_interval=21)
    assert predict.main(config) == 0
    assert FakeUnet.last.timed == ((4, 6, 3), 21)
    lines = capsys.readouterr().out.splitlines()
    # Of 1..21 the median is 11, and of the 20 steps between them 19 lie below the p95, 20.
    assert lines[2] == "6x4 pixels in, 21 times"
    assert [line.split() for line in lines[3:]] == [
        ["stage", "median", "ms", "p95", "ms", "images/s"],
        ["preprocess", "11.0", "20.0", "90.9"],
        ["network", "11000.0", "20000.0", "0.1"],
        ["postprocess", "250.0", "250.0", "4.0"],
        ["all", "11261.0", "20270.0", "0.1"],
    ]


def test_a_missing_image_is_refused_before_the_network_loads(tmp_path):
    config = PredictConfig(mode="fps", fps_image_path=str(tmp_path / "none.jpg"))
    with pytest.raises(UserError, match=r"There is no file .*none\.jpg"):
        predict.main(config)


@pytest.mark.usefixtures("fake")
def test_an_image_is_drawn_where_the_sample_is_missing(tmp_path, monkeypatch, write_image, capsys):
    monkeypatch.chdir(tmp_path)
    assert predict.main(PredictConfig(mode="fps", test_interval=2)) == 0
    assert FakeUnet.last.timed == ((480, 640, 3), 2)
    printed = capsys.readouterr().out
    assert "There is no img/street.jpg; an image of cells is drawn instead." in printed
    assert "640x480 pixels in, 2 times" in printed
    assert list(tmp_path.iterdir()) == []
    write_image(tmp_path / "img" / "street.jpg", np.zeros((4, 6, 3), np.uint8))
    assert predict.main(PredictConfig(mode="fps", test_interval=2)) == 0
    assert FakeUnet.last.timed == ((4, 6, 3), 2)


@pytest.mark.parametrize("count", [1, 5])
def test_it_is_drawn_with_the_network_s_channels(channels, tmp_path, monkeypatch, count):
    monkeypatch.chdir(tmp_path)
    channels(count)
    assert predict.main(PredictConfig(mode="fps", test_interval=2)) == 0
    assert FakeUnet.last.timed == ((480, 640, count), 2)


def test_a_large_image_is_refused_before_the_network_loads(image):
    config = PredictConfig(mode="fps", fps_image_path=str(image()[0]), max_pixels=23)
    with pytest.raises(UserError, match="6x4 = 24 pixels; max_pixels is 23"):
        predict.main(config)


# Videos and files for other programs


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("present", "target", "show"),
    [(True, "", True), (True, "out.mp4", False), (False, "out.mp4", False)],
)
def test_a_video_is_drawn_frame_by_frame(monkeypatch, rng, display, present, target, show):
    display(present)
    calls = []
    monkeypatch.setattr(
        predict, "process_video", lambda *args, **options: calls.append((args, options))
    )
    config = PredictConfig(
        mode="video", video_path="7", video_save_path=target, video_fps=12.5, legend=True
    )
    assert predict.main(config) == 0
    [((draw, *args), options)] = calls
    assert (args, options) == (["7", target, 12.5], {"show": show})
    # The frame that a network of FakeUnet's kind makes of any frame, with a legend.
    assert draw(rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)).shape == (5, 6, 3)


def test_a_video_without_a_display_needs_a_file(display):
    display(False)
    with pytest.raises(UserError) as caught:
        PredictConfig(mode="video")
    assert str(caught.value) == (
        "There is no display to show the video on: give video_save_path, an mp4 file."
    )


@pytest.mark.usefixtures("fake")
def test_export_takes_the_network_in_float32(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "utils.prediction.export.check_formats", lambda *args: calls.append(args[0])
    )
    monkeypatch.setattr("utils.prediction.export.export_model", lambda *args: calls.append(args))
    formats = ("savedmodel", "onnx")
    config = PredictConfig(
        mode="export", export_path="there", export_formats=formats, precision="mixed_bfloat16"
    )
    assert predict.main(config) == 0
    assert FakeUnet.made[0][5] == "float32"
    assert FakeUnet.made[1]["engine"] == "keras"  # an export is compared with it
    unet = FakeUnet.last
    assert calls[0] == formats
    assert calls[1] == ("the network", unet.description, "there", formats, unet.colors)


def test_export_of_any_size(tmp_path, monkeypatch):
    described = Description(2, "vgg", (32, 48), ("nothing", "cell"), 4)
    network = networks.build(described, (32, 48))
    save_weights(network, tmp_path / "tiny.weights.h5", described)
    calls = []
    monkeypatch.setattr(
        "utils.prediction.export.export_model",
        lambda *args, **options: calls.append((args, options)),
    )
    config = PredictConfig(str(tmp_path / "tiny.weights.h5"), mode="export", export_size="any")
    assert predict.main(config) == 0
    ((model, *_), options) = calls[0]
    assert (model.input_shape, options) == ((None, None, None, 3), {"multiple_of": 16})
    for ours, theirs in zip(model.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_unknown_export_size_is_refused():
    with pytest.raises(UserError, match="export_size must be one of fixed, any; got '512'"):
        PredictConfig(export_size="512")


# Settings


@pytest.mark.usefixtures("fake")
def test_settings_reach_the_network(monkeypatch):
    line = (
        "--model_path my.weights.h5 --num_classes 3 --backbone vgg --input_shape 64,96 "
        "--mix_type 2 --precision float32 --name_classes a,b,c --image no.png "
        "--tile true --tta hv --max_pixels 1000 --engine keras"
    )
    monkeypatch.setattr(sys, "argv", ["predict.py", *line.split()])
    assert predict.main() == 1  # there is no such image
    args, options = FakeUnet.made
    assert args == ("my.weights.h5", 3, "vgg", (64, 96), 2, "float32", ("a", "b", "c"))
    assert options == {
        "tile": True, "tta": "hv", "max_pixels": 1000, "engine": "keras", "threshold": {},
        "min_region": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["a.weights.h5"], "a.weights.h5"),
        (["run 1/a,b.weights.h5"], "run 1/a,b.weights.h5"),
        (["fold_[0-4]/best.weights.h5"], "fold_[0-4]/best.weights.h5"),
        (["a.weights.h5", "b.weights.h5"], ("a.weights.h5", "b.weights.h5")),
    ],
)
def test_weights_may_be_several(typed, expected):
    assert load_config(PredictConfig, ["--model_path", *typed]).model_path == expected
    assert PredictConfig(model_path=expected).model_path == expected


def test_images_may_be_given_apart():
    config = load_config(PredictConfig, ["--image", "a.jpg", "b 1.png", "dir/*.tif"])
    assert config.image == ("a.jpg", "b 1.png", "dir/*.tif")


def test_an_unknown_mode_is_refused():
    with pytest.raises(UserError) as caught:
        load_config(PredictConfig, ["--mode", "vidio"])
    known = ", ".join(predict.MODES)
    assert str(caught.value) == f"mode must be one of {known}; got 'vidio'."


@pytest.mark.parametrize("name", ["batch_size", "max_pixels", "test_interval"])
def test_numbers_below_1_are_refused(name):
    with pytest.raises(UserError) as caught:
        PredictConfig(**{name: 0})
    assert str(caught.value) == f"{name} must be at least 1; got 0."


def test_an_unknown_mix_type_is_refused_at_once():
    with pytest.raises(UserError, match="mix_type must be one of"):
        PredictConfig(mix_type=4)


def test_a_bad_pixel_size_is_refused_at_once():
    with pytest.raises(UserError, match=r"pixel_size must be above 0; got -1\.0"):
        PredictConfig(pixel_size=-1.0)


# With a real network


def test_a_real_network(image, out, tmp_path, capsys):
    keras.utils.set_random_seed(0)
    network = networks.Unet((None, None, 3), 2, width=8)
    kernel, _ = network.get_layer("head_conv").get_weights()
    # A bias that no image overcomes: everything is class 1.
    network.get_layer("head_conv").set_weights([kernel, np.array([0, 1e6])])
    weights = tmp_path / "tiny.weights.h5"
    save_weights(network, weights, Description(2, "vgg", (32, 32), ("nothing", "cat"), 8))
    path, _ = image()
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
    assert lines[2] == "precision: float32, as set."
    assert lines[4].split() == ["cat", "24", "100.00%"]


def test_bad_weights_are_refused_before_anything_is_asked(tmp_path, type_in, out):
    path = tmp_path / "no.weights.h5"
    path.write_text("no weights")
    prompts = type_in("street.png")
    with pytest.raises(UserError, match="is not a weights file, or is broken"):
        predict.main(PredictConfig(model_path=str(path), dir_save_path=str(out)))
    assert prompts == []
    assert not Path(out).exists()


@pytest.mark.usefixtures("fake")
def test_a_name_too_long_for_results_is_that_image_s_problem(tmp_path, write_image, capsys):
    pixels = np.zeros((4, 6, 3), np.uint8)
    for name in ("a", "b" * 250, "c"):
        write_image(tmp_path / "in" / f"{name}.png", pixels)
    config = PredictConfig(
        mode="dir_predict",
        dir_origin_path=str(tmp_path / "in"),
        dir_save_path=str(tmp_path / "out"),
    )
    assert predict.main(config) == 1
    assert "is too long for its results" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").glob("?.png")} == {"a.png", "c.png"}


@pytest.fixture
def channels(monkeypatch):
    """channels(count): the network takes images with so many."""

    class Banded(FakeUnet):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.description = dataclasses.replace(self.description, in_channels=Banded.count)

        def predict_array(self, image, progress=False):
            self.seen = image
            return super().predict_array(image, progress)

        def draw(self, pixels, mask, legend=False, out=None):
            return to_rgb(pixels)

    def take(count):
        Banded.count = count
        monkeypatch.setitem(sys.modules, "unet", SimpleNamespace(Unet=Banded))

    return take


def test_an_image_is_read_with_the_network_s_channels(channels, tmp_path, rng, out):
    channels(5)
    pixels = rng.integers(0, 256, (4, 6, 5)).astype(np.uint8)
    path = tmp_path / "five.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
    assert predict.main(PredictConfig(image=(str(path),), dir_save_path=str(out))) == 0
    np.testing.assert_array_equal(FakeUnet.last.seen, pixels)
    assert_result(out / "five.png", pixels[..., :3])
    config = PredictConfig(mode="fps", fps_image_path=str(path), test_interval=2)
    assert predict.main(config) == 0
    assert FakeUnet.last.timed == ((4, 6, 5), 2)


def test_a_video_needs_three_channels_or_one(channels, monkeypatch):
    calls = []
    monkeypatch.setattr(predict, "process_video", lambda draw, *_, **__: calls.append(draw))
    config = PredictConfig(mode="video", video_path="7", video_save_path="out.mp4")
    channels(5)
    with pytest.raises(UserError, match="takes images with 5 channels, and a video has three"):
        predict.main(config)
    assert not calls
    channels(1)
    assert predict.main(config) == 0
    frame = np.full((4, 6, 3), (255, 0, 0), np.uint8)
    np.testing.assert_array_equal(calls[0](frame), frame)  # drawn over its colours
    assert FakeUnet.last.seen.shape == (4, 6, 1)
    assert np.all(FakeUnet.last.seen == 76)
