"""Where ImageNet weights are looked for, in which order, and what is said where there are none."""

import http.server
import inspect
import sys
import threading
import time
from functools import partial

import keras
import pytest
import torch
from stand_ins import KERAS_FILES, TORCH_FILES

from errors import UserError
from nets.backbones import BACKBONES, backbone_of_file
from nets.weights import imagenet_files
from nets.weights.imagenet_files import (
    URL_VARIABLE,
    ImageNetMissingError,
    find_imagenet,
    find_local,
)
from nets.weights.storage import open_weights
from training.start import choose_start

every_backbone = pytest.mark.parametrize("backbone", [*TORCH_FILES, "mobilenet", "densenet121"])


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The three folders that are looked into, in their order, all empty; works beside the first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    parts = ("model_data", "keras/models", "torch/hub/checkpoints")
    folders = [tmp_path / part for part in parts]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


@pytest.fixture
def offline(monkeypatch):
    def get_file(*_, **__):
        raise Exception("URL fetch failure on https://...: no route to host")

    monkeypatch.setattr(keras.utils, "get_file", get_file)


@pytest.fixture
def mirror(tmp_path):
    """(folder, address) of a web server on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@every_backbone
def test_places_in_their_order(backbone, places, offline):
    names = [files[backbone] for files in (KERAS_FILES, TORCH_FILES) if backbone in files]
    expected = [
        folder / name for folder in places for name in names if (folder, name) != (places[1], "")
    ]
    for path in reversed(expected):
        path.touch()
        assert find_imagenet(backbone).resolve() == path
    found = [path.resolve() for path in find_local(backbone)[0]]
    assert found == expected


def test_the_first_resnet50_of_torchvision_comes_before_the_newer(places):
    for name in ("resnet50-11ad3fa6.pth", "resnet50-0676ba61.pth", "resnet50-19c8e357.pth"):
        (places[2] / name).touch()
    assert find_local("resnet50")[0][0].name == "resnet50-0676ba61.pth"
    (places[2] / "vgg16_bn-6c64b313.pth").touch()
    assert find_local("vgg") == ([], [])


@every_backbone
def test_else_it_is_downloaded_and_checked(backbone, places, monkeypatch, tmp_path):
    asked = []

    def get_file(name, url, **options):
        asked.append((name, url, options))
        return str(tmp_path / name)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert find_imagenet(backbone) == tmp_path / KERAS_FILES[backbone]
    ((name, url, options),) = asked
    assert name == KERAS_FILES[backbone]
    assert url.startswith("https://") and url.endswith(name)
    # Compared with Keras' own below, which has none for MobileNet.
    assert backbone == "mobilenet" or len(options["file_hash"]) == 32


def test_addresses_and_sums_are_those_of_keras():
    from keras.src.applications import resnet, vgg16

    of_vgg, of_resnet = (BACKBONES[name].keras for name in ("vgg", "resnet50"))
    assert resnet.WEIGHTS_HASHES["resnet50"][1] == of_resnet.hash
    assert of_resnet.url.startswith(resnet.BASE_WEIGHTS_PATH)
    assert of_vgg.url == vgg16.WEIGHTS_PATH_NO_TOP
    with open(vgg16.__file__, encoding="utf-8") as file:
        assert of_vgg.hash in file.read()


@pytest.mark.parametrize("backbone", [name for name, one in BACKBONES.items() if one.application])
def test_sums_of_keras_encoders_are_those_of_keras(backbone):
    """All that Keras asks for is compared in tests/nets/test_keras_encoders.py."""
    record = BACKBONES[backbone]
    source = inspect.getsource(
        sys.modules[getattr(keras.applications, record.application).__module__]
    )
    if backbone.startswith("resnet"):  # those of version 2 stand with the first ones
        source += inspect.getsource(sys.modules[keras.applications.ResNet50.__module__])
    if record.keras.hash:
        assert record.keras.hash in source
    else:
        assert "hash" not in source


def test_no_two_backbones_share_a_file():
    assert len(set(KERAS_FILES.values())) == len(BACKBONES)
    assert {backbone_of_file(file): file for file in KERAS_FILES.values()} == KERAS_FILES
    assert backbone_of_file("best_epoch_weights.weights.h5") is None


def test_a_mirror_of_a_pytorch_file_that_can_not_be_read(places):
    message = "is a file of PyTorch, but of mobilenet only Keras' files can be read. Give"
    with pytest.raises(UserError, match=message):
        find_imagenet("mobilenet", "http://127.0.0.1:9/mobilenet.pth")


@every_backbone
def test_one_message_names_every_way(backbone, places, offline):
    with pytest.raises(ImageNetMissingError) as caught:
        find_imagenet(backbone)
    message = str(caught.value)
    of_torch = (f"{TORCH_FILES.get(backbone)} (", "https://download.pytorch.org/")
    assert all((text in message) == (backbone in TORCH_FILES) for text in of_torch)
    for text in (
        "no route to host",
        *map(str, places[1:]),
        f"put {KERAS_FILES[backbone]} (",
        " MB)",
        "https://storage.googleapis.com/",
        URL_VARIABLE,
        "imagenet_url",
        '--model_path ""',
    ):
        assert text in message, text


def test_a_file_of_torchvision_without_pytorch_is_named(places, offline, monkeypatch):
    path = places[2] / TORCH_FILES["vgg"]
    path.touch()
    monkeypatch.setattr(imagenet_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageNetMissingError, match=r"requirements-torch\.txt makes it readable"):
        find_imagenet("vgg")


@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize("name", [KERAS_FILES["vgg"], "my_vgg16.h5", TORCH_FILES["vgg"]])
def test_a_mirror_is_asked_before_keras(name, by_variable, places, offline, mirror, monkeypatch):
    monkeypatch.undo()  # get_file works again
    monkeypatch.chdir(places[0].parent)
    monkeypatch.setenv("KERAS_HOME", str(places[1].parent))
    monkeypatch.setenv("TORCH_HOME", str(places[2].parents[1]))
    folder, address = mirror
    (folder / name).write_bytes(b"weights")
    url = address if name == KERAS_FILES["vgg"] else f"{address}/{name}"
    if by_variable:
        monkeypatch.setenv(URL_VARIABLE, url)
    checked = []
    path = find_imagenet("vgg", "" if by_variable else url, check=checked.append)
    expected = TORCH_FILES["vgg"] if name.endswith(".pth") else KERAS_FILES["vgg"]
    assert path.resolve() == places[0] / expected
    assert path.read_bytes() == b"weights" and len(checked) == 1
    assert [path.name for path in places[0].iterdir()] == [expected]
    assert find_imagenet("vgg", "http://127.0.0.1:9/not/asked/again.h5") == path


def test_a_mirror_that_answers_with_a_web_page(places, mirror):
    folder, address = mirror
    (folder / KERAS_FILES["vgg"]).write_text("\n<!DOCTYPE html><html>Please log in</html>")
    with pytest.raises(UserError, match=r"answered with a web page \(HTML\)") as caught:
        find_imagenet("vgg", address)
    assert "\n" not in str(caught.value)
    assert list(places[0].iterdir()) == []


def test_a_mirror_without_the_file(places, mirror):
    with pytest.raises(UserError, match=r"does not give the ImageNet weights.*404") as caught:
        find_imagenet("vgg", mirror[1])
    assert not isinstance(caught.value, ImageNetMissingError)  # it was asked for by name
    assert list(places[0].iterdir()) == []


def test_a_mirror_with_something_else_keeps_nothing(places, mirror):
    folder, address = mirror
    (folder / "a.pth").write_bytes(b"\x80something")
    (folder / KERAS_FILES["vgg"]).write_bytes(b"\x89HDF\r\n\x1a\nbroken")
    torch.save({"layer": torch.zeros(1)}, folder / "b.pth")
    for url in (address, f"{address}/a.pth", f"{address}/b.pth"):
        with pytest.raises(UserError) as caught:
            open_weights("imagenet", "vgg", url)
        assert "\n" not in str(caught.value)
        assert [path.name for path in places[0].iterdir()] == [], url


def test_the_time_to_wait_for_a_server_is_bounded(places, monkeypatch):
    """A server that takes the connection and never answers."""
    import socket

    monkeypatch.setattr(imagenet_files, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        begin = time.monotonic()
        with pytest.raises(UserError, match="does not give"):
            find_imagenet("vgg", f"http://127.0.0.1:{server.getsockname()[1]}/")
        assert time.monotonic() - begin < 5
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("model_path", ["", "imagenet", "logs/x.weights.h5"])
def test_what_is_asked_for_by_name_stays(model_path, places, offline):
    assert choose_start(model_path, "vgg", 32) == (model_path, "")


def test_auto_takes_what_is_there(places, offline):
    (places[1] / KERAS_FILES["vgg"]).touch()
    assert choose_start("auto", "vgg", 64) == ("imagenet", "")
    start, note = choose_start("auto", "vgg", 32)
    assert start == "" and "ImageNet weights are for width 64, and width is 32" in note


def test_auto_without_any_starts_from_scratch_and_says_so(places, offline):
    start, note = choose_start("auto", "vgg", 64)
    assert start == ""
    assert "WARNING: THE NETWORK STARTS FROM SCRATCH" in note
    assert f"put {KERAS_FILES['vgg']}" in note
    assert "Ctrl-C" in note and "--resume never" in note


def test_auto_with_a_mirror_that_fails_is_an_error(places, mirror):
    with pytest.raises(UserError, match="does not give the ImageNet weights"):
        choose_start("auto", "vgg", 64, mirror[1])
