"""Every command of README and docs: its settings exist, and it runs, on a tiny set and network."""

import importlib.util
import shutil
import sys

import av
import cv2
import numpy as np
import pytest
import tifffile
from conftest import tiny_training
from other_networks import keras_2_unet
from pages import CONFIGS, MAINS, PAGES, ROOT, find_blocks, find_commands, read
from PIL import Image

import demo
import train
from utils.config import load_config

# Commands that are not run here, by how they begin, and why. Their settings are checked too.
NOT_RUN = {
    "pip ": "changes the environment",
    "python -m pytest": "these tests",
    "python demo.py": ".ci/run runs it",
    "python train.py --plan auto": "takes minutes by the clock; the demo trains so",
    "unet-keras ": "needs the package; tests of the package run it",
    "python app.py": "a server, which ends by Ctrl-C; tests/webapp starts it",
    "labelme ": "another program, with a window",
    "tensorboard ": "a server, which ends by Ctrl-C",
    "curl ": "needs the service; tests/webapp sends it the same",
    "docker ": "needs Docker; tests/webapp does what the Dockerfile does",
    "export ": "a shell's own command",
    "python benchmarks/": "takes minutes, and compares with upstream",
    "python summary.py --all": "builds every encoder; tests/test_summary.py does so",
    "python predict.py --mode video --video_path 0": "needs a camera",
    "python predict.py --mode export --export_formats savedmodel,onnx,litert": "tested by "
    "tests/prediction/test_export.py; takes a minute",
    "python predict.py --mode export --export_formats onnx_int8": "as the other exports",
    "python predict.py --mode dir_predict --dir_origin_path img --ray": "starts Ray; tested by "
    "tests/prediction/test_on_ray.py",
    "python train.py --folds": "five trainings, in processes of their own",
    "python train.py --devices": "needs several GPUs, or machines",
    "python train.py --imagenet_url": "needs a mirror",
    "python train.py --model_path \"\" --VOCdevkit_path": "a figure: a whole training",
    "python train.py --VOCdevkit_path isbi2012": "a figure: a whole training",
    "python train.py --VOCdevkit_path camvid": "a figure: a whole training",
}  # fmt: skip

# What is appended to a command to make it small, by how it begins: all that fit.
TINY = {
    "python train.py": "--input_shape 32,32 --width 8 --precision float32 --unfreeze_epoch 1 "
    "--freeze_epoch 1 --unfreeze_batch_size 2 --save_period 0 --num_workers 1 --resume never",
    "python predict.py --mode fps": "--test_interval 2",
    "python summary.py": "--width 8 --repeats 1",
}
# What pages have their readers set at the top of a script: appended where the command says nothing.
EDITED = {"train": {"num_classes": "3"}}
# The exit status of commands that find something wrong on purpose.
STATUS = {}

# What a page's programs need: the command of this or another page that writes it.
BEFORE_PROGRAMS = {
    "docs/results.md": "python predict.py --image street.jpg --probabilities npz",
}

COMMANDS = {
    (page, number): command
    for page in PAGES
    for number, command in enumerate(find_commands(read(page)))
}


def reason_not_to_run(command):
    """Why a command is not run; None: it is."""
    for beginning, reason in NOT_RUN.items():
        if command.text.startswith(beginning):
            return reason
    return None


def shorten(command):
    """The settings of a command, with those that make it small."""
    settings = command.settings
    for name, value in EDITED.get(command.script, {}).items():
        if f"--{name}" not in settings:
            settings += [f"--{name}", value]
    for beginning, more in TINY.items():
        if command.text.startswith(beginning):
            settings += more.split()
    return settings


# Settings


def find_config(command, monkeypatch):
    """The settings class of a command's script; None: it is none of this project's."""
    if command.script in CONFIGS:
        return CONFIGS[command.script]
    path = ROOT / f"{command.script}.py"
    if command.script is None or not path.is_file():
        return None
    monkeypatch.syspath_prepend(path.parent)
    spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    (config,) = (
        value
        for name, value in vars(module).items()
        if name.endswith("Config") and value.__module__ == spec.name
    )
    return config


@pytest.mark.parametrize("where", COMMANDS, ids=lambda where: f"{where[0]}-{where[1]}")
def test_the_settings_of_every_command_exist(where, monkeypatch):
    command = COMMANDS[where]
    config = find_config(command, monkeypatch)
    if config is None:
        assert reason_not_to_run(command), f"{command.text!r}: is it run, or why not?"
        return
    monkeypatch.setattr("predict.has_display", lambda: True)
    monkeypatch.setattr("utils.prediction.engines._missing", lambda engine: [])
    if "--help" in command.settings:
        with pytest.raises(SystemExit):
            load_config(config, command.settings)
    else:
        load_config(config, command.settings)


def test_the_tables_hold_no_command_that_is_gone():
    texts = [command.text for command in COMMANDS.values()]
    for beginning in (*NOT_RUN, *TINY, *PREPARED, *STATUS):
        assert any(beginning in text for text in texts), beginning


# Running


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder as that of a reader who has data, a trained network and images to predict."""
    base = tmp_path_factory.mktemp("reader")
    demo.write_dataset(base / "VOCdevkit", 10, (40, 52), seed=1)
    names = [f"cells_{index:03d}" for index in range(10)]
    lists = base / "VOCdevkit" / "VOC2007" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    splits = {"train": names[:6], "val": names[6:8], "test": names[8:]}
    splits |= {"train_0": names[:6], "val_0": names[6:]}
    for split, some in splits.items():
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in some))
    train.main(
        tiny_training(
            base / "VOCdevkit",
            base / "logs",
            name_classes=demo.NAMES,
            freeze_train=False,
            unfreeze_epoch=1,
        )
    )
    best = base / "logs" / "best_epoch_weights.weights.h5"
    for fold in ("fold_0", "fold_1"):
        (base / "logs" / fold).mkdir()
        shutil.copy(best, base / "logs" / fold)
    shutil.copytree(base / "VOCdevkit", base / "other")
    shutil.copytree(lists, base / "lists")
    images = base / "VOCdevkit" / "VOC2007" / "JPEGImages"
    for folder in ("img", "scans", "model_data"):
        (base / folder).mkdir()
    for path, index in (("street.jpg", 0), ("img/street.jpg", 0), ("img/cell.jpg", 1)):
        shutil.copy(images / f"cells_{index:03d}.jpg", base / path)
    Image.open(images / "cells_001.jpg").save(base / "scans" / "a.tif")
    shutil.copy(best, base / "model_data" / "mine.weights.h5")
    upstream = keras_2_unet(pytest.importorskip("tf_keras"), 21, "vgg", width=8)
    upstream.save_weights(base / "model_data" / "unet_vgg_voc.h5")
    write_video(base / "in.mp4", images)
    shutil.copytree(lists.parents[1] / "SegmentationClass", base / "their_masks")
    return base


def write_video(path, images):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = 52, 40
        for one in sorted(images.iterdir())[:3]:
            frame = av.VideoFrame.from_ndarray(np.asarray(Image.open(one)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def of_masks(change):
    """What changes every mask of the workspace: `change` takes and gives uint8 (H, W)."""

    def prepare(folder):
        for path in (folder / "VOCdevkit" / "VOC2007" / "SegmentationClass").iterdir():
            Image.fromarray(change(np.asarray(Image.open(path)))).save(path)

    return prepare


def number_objects(mask):
    return cv2.connectedComponents((mask > 0).astype(np.uint8))[1].astype(np.uint8)


COLORS = np.array([(255, 255, 255), (10, 200, 30), (200, 20, 90)], np.uint8)


def color_masks(folder):
    of_masks(lambda mask: COLORS[mask])(folder)
    names = ("background", "cell", "nucleus")
    lines = [f"{r} {g} {b} {name}\n" for (r, g, b), name in zip(COLORS, names, strict=True)]
    (folder / "colours.txt").write_text("".join(lines))


def two_colors(folder):
    """Black borders on white, as in upstream's medical images; the page says what to write."""
    of_masks(lambda mask: np.where(mask == 1, 0, 255).astype(np.uint8))(folder)
    (folder / "borders.txt").write_text("255 255 255 background\n0 0 0 border\n")


def only_annotations(folder):
    """Images and masks in folders, and no VOC folder yet."""
    voc = folder / "VOCdevkit" / "VOC2007"
    for target in ("my_annotations", "datasets/before"):
        shutil.copytree(voc / "JPEGImages", folder / target / "images")
        shutil.copytree(voc / "SegmentationClass", folder / target / "masks")
    shutil.copytree(voc / "JPEGImages", folder / "my_images")
    shutil.copytree(voc / "JPEGImages", folder / "Medical_Datasets" / "Images")
    labels = folder / "Medical_Datasets" / "Labels"
    labels.mkdir()
    for path in (voc / "SegmentationClass").iterdir():
        Image.fromarray(np.where(np.asarray(Image.open(path)), 255, 0).astype(np.uint8)).save(
            labels / path.name
        )
    shutil.rmtree(folder / "VOCdevkit")


def corrected(folder):
    """No VOC folder, so that corrected annotations make one."""
    shutil.rmtree(folder / "VOCdevkit")


def five_channels(folder):
    """TIFF files of five channels in place of the images."""
    for path in (folder / "VOCdevkit" / "VOC2007" / "JPEGImages").iterdir():
        pixels = np.asarray(Image.open(path))
        path.unlink()
        tifffile.imwrite(
            path.with_suffix(".tif"),
            pixels[..., [0, 1, 2, 0, 1]],
            photometric="minisblack",
            planarconfig="contig",
        )


def fixed(folder):
    shutil.copytree(folder / "VOCdevkit" / "VOC2007", folder / "VOCdevkit" / "VOC2007_fixed")


def patients(folder):
    """Two images of each patient."""
    for kind in ("JPEGImages", "SegmentationClass"):
        for index, path in enumerate(sorted((folder / "VOCdevkit" / "VOC2007" / kind).iterdir())):
            path.rename(path.with_name(f"patient{index // 2}_{index}{path.suffix}"))


# What must be there before a command, or its block: what its page says that the reader has. Of
# those that fit, the last.
PREPARED = {
    "--VOCdevkit_path VOCdevkit/VOC2007_fixed": fixed,
    "--group_by": patients,
    "python voc_annotation.py --fix": of_masks(lambda mask: np.where(mask, 255, 0).astype("uint8")),
    "--color_map colours.txt": color_masks,
    "--color_map borders.txt": two_colors,
    "--instances binary": of_masks(number_objects),
    "--in_channels 5": five_channels,
    "--annotations my_annotations": only_annotations,
    "--annotations datasets/before": only_annotations,
    "--annotations Medical_Datasets": only_annotations,
    "--annotations img_out": corrected,
}


def find_groups():
    """{name: list of Command} to run in one folder: a block, or a command within a sentence."""
    found, known = {}, set()
    for (page, number), command in COMMANDS.items():
        if page.startswith(("docs/zh", "README.zh")) or reason_not_to_run(command):
            continue  # both languages have the same commands
        if command.block is not None:
            found.setdefault(f"{page}, block {command.block}", []).append(command)
        elif command.text not in known:
            found[f"{page}, {number}"] = [command]
        known.add(command.text)
    return found


GROUPS = find_groups()


def run(command):
    """The exit status of a script's `main()` with a command's settings."""
    if "--help" in command.settings:
        with pytest.raises(SystemExit) as end:
            load_config(CONFIGS[command.script], command.settings)
        return end.value.code
    status = MAINS[command.script](load_config(CONFIGS[command.script], shorten(command)))
    return status if isinstance(status, int) else 0


@pytest.mark.slow
@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.usefixtures("quick")
def test_commands_run(name, workspace, tmp_path, monkeypatch):
    folder = tmp_path / "reader"
    shutil.copytree(workspace, folder)
    monkeypatch.chdir(folder)
    answers = iter(["street.jpg", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    texts = [command.text for command in GROUPS[name]]
    prepare = [PREPARED[part] for part in PREPARED if any(part in text for text in texts)]
    if prepare:
        prepare[-1](folder)
    for command in GROUPS[name]:
        assert run(command) == STATUS.get(command.text, 0), command.text


@pytest.mark.slow
@pytest.mark.parametrize("page", [name for name in PAGES if "/zh/" not in name])
def test_programs_run(page, workspace, tmp_path, monkeypatch):
    """Those that need nothing but the workspace; tests/prediction/test_export.py has the other."""
    folder = tmp_path / "reader"
    shutil.copytree(workspace, folder)
    monkeypatch.chdir(folder)
    if page in BEFORE_PROGRAMS:
        (command, *_) = (one for one in COMMANDS.values() if one.text == BEFORE_PROGRAMS[page])
        assert run(command) == 0
    for language, program in find_blocks(read(page)):
        if language == "python" and "onnxruntime" not in program:
            exec(compile(program, page, "exec"), {})
