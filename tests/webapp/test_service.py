"""The service, asked through HTTP: what it answers and refuses, and that nothing is mixed up."""

import io
import json
import logging
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image

pytest.importorskip("fastapi", reason="FastAPI is not installed")
pytest.importorskip("uvicorn", reason="Uvicorn is not installed")
pytest.importorskip("multipart", reason="python-multipart is not installed")

from serving_http import form, get, post, send, serving, wait_for, wait_until_ready

from errors import UserError
from unet import Unet
from utils.labels import voc_palette
from utils.prediction.stream import Outcome
from webapp.batches import Batches

NAMES = ("background", "cell", "猫")
SENTENCE = r"^[A-Z][^\n]*\.$"


def as_png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def read(reply):
    """The pixels of an image that came back."""
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(reply.body)))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from made_networks import network_of_three_classes

    from nets.weights.description import Description
    from nets.weights.storage import save_weights

    path = tmp_path_factory.mktemp("weights") / "best.weights.h5"
    description = Description(3, "vgg", (32, 48), NAMES, 8)
    save_weights(network_of_three_classes(0), path, description)
    return path


@pytest.fixture(scope="module")
def unet(weights):
    return Unet(weights, precision="float32", max_pixels=10_000)


@pytest.fixture(scope="module")
def port(unet):
    with serving(Batches(lambda: unet, 4, 64)) as port:
        wait_until_ready(port)
        yield port


@pytest.fixture(scope="module")
def images():
    """50 images of noise, no two of one size, so that each mask shows whose it is."""
    noise = np.random.default_rng(2).integers(0, 256, (50, 32, 48, 3)).astype(np.uint8)
    return [
        one[np.arange(32 + i) * 32 // (32 + i)][:, np.arange(48 + i) * 48 // (48 + i)]
        for i, one in enumerate(noise)
    ]


# Answers


def test_the_mask_is_the_file_of_predict_py(port, weights, images, tmp_path, write_image):
    from made_networks import segment_folder

    write_image(tmp_path / "in" / "a.png", images[0])
    segment_folder(tmp_path, model_path=str(weights), precision="float32", batch_size=1)
    (mask,) = (path for path in (tmp_path / "out").rglob("*.png") if "mask" in path.name)
    reply = post(port, as_png(images[0]))
    assert len(np.unique(read(reply))) == 3
    assert reply.body == mask.read_bytes()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_each_of_fifty_at_once_gets_its_own(unet, images, batch_size):
    expected = [unet.predict(image).mask for image in images]
    with serving(Batches(lambda: unet, batch_size, 64)) as port, ThreadPoolExecutor(50) as pool:
        wait_until_ready(port)
        replies = list(pool.map(partial(post, port), map(as_png, images)))
    for reply, mask in zip(replies, expected, strict=True):
        found = read(reply)
        assert found.shape == mask.shape
        # A batch may round otherwise than an image alone.
        assert (found == mask).mean() >= (1 if batch_size == 1 else 0.99)


def test_forms_and_bodies_of_all_kinds_are_taken(port, images):
    content = as_png(images[0])
    expected = post(port, content).body
    body, headers = form(content)
    assert post(port, body, headers=headers).body == expected
    for kind in ("image/png", "Image/Tiff; charset=x", "application/octet-stream"):
        assert post(port, content, headers={"Content-Type": kind}).body == expected
    assert send(port, "POST", "/predict", content).body == expected  # without a type
    chunks = iter([content[:100], content[100:]])
    assert post(port, chunks).body == expected


def test_json_tells_size_classes_and_regions(port, unet, images):
    found = unet.predict(images[0])
    reply = post(port, as_png(images[0]), "?format=json")
    assert reply.headers["content-type"] == "application/json"
    told = reply.json
    assert (told["height"], told["width"]) == images[0].shape[:2]
    assert [one["class"] for one in told["classes"]] == list(NAMES)
    assert {one["class"]: one["share"] for one in told["classes"]} == found.shares
    assert sum(one["pixels"] for one in told["classes"]) == images[0][..., 0].size
    for number, (one, region) in enumerate(zip(told["regions"], found.regions(), strict=True), 1):
        expected = {"class": NAMES[region.class_id], "label": number} | region._asdict()
        assert one == pytest.approx(expected)
    assert "polygons" not in told
    accepted = post(port, as_png(images[0]), headers={"Accept": "application/json"})
    assert accepted.json == told


def test_json_has_polygons_if_they_are_asked_for(port, unet, images):
    told = post(port, as_png(images[0]), "?format=json&polygons=true").json["polygons"]
    expected = unet.predict(images[0]).polygons()
    assert len(told) == len(expected) > 1
    for one, polygon in zip(told, expected, strict=True):
        assert one["class"] == polygon.name and one["class_id"] == polygon.class_id
        assert one["outer"] == polygon.outer.tolist()
        assert len(one["holes"]) == len(polygon.holes)


@pytest.mark.parametrize("mix_type", range(4))
def test_the_overlay_is_drawn_as_asked(port, unet, images, mix_type):
    reply = post(port, as_png(images[0]), f"?format=overlay&mix_type={mix_type}")
    expected = unet.predict(images[0]).draw(mix_type)
    np.testing.assert_array_equal(read(reply), np.asarray(expected))


def test_a_tiff_of_16_bits_is_read_as_by_predict_py(port, unet, tmp_path, rng):
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, rng.integers(0, 5000, (40, 50)).astype(np.uint16))
    reply = post(port, path.read_bytes(), headers={"Content-Type": "image/tiff"})
    np.testing.assert_array_equal(read(reply), unet.predict(path).mask)
    told = post(port, path.read_bytes(), "?format=json").json
    assert max(one["intensity"] for one in told["regions"]) > 255  # the file's own numbers


def test_health_tells_the_weights(port, weights):
    reply = get(port, "/health")
    assert reply.status == 200
    told = reply.json
    assert told["status"] == "ready" and told["taken"] == 0 and told["places"] == 64
    (described,) = told["weights"]
    assert described["file"] == weights.name
    assert described["name_classes"] == list(NAMES) and described["input_shape"] == [32, 48]
    assert str(weights.parent) not in reply.body.decode()


# Mistakes of clients


def broken_jpeg(images):
    buffer = io.BytesIO()
    Image.fromarray(images[0]).save(buffer, "JPEG")
    return buffer.getvalue()[:-200]


BAD = {
    "text": (b"no image at all", "sent can't be read"),
    "empty": (b"", "There is no image in the request"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript is not read"),
    "too many pixels": (as_png(np.zeros((101, 100, 3), np.uint8)), "max_pixels is 10,000"),
    "too small": (b"\x89PNG\r\n\x1a\n", "sent can't be read"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_image_is_one_sentence(port, unet, what):
    body, text = BAD[what]
    reply = post(port, body)
    assert reply.status == 400
    assert text in reply.error
    assert "/tmp" not in reply.error and "unet_" not in reply.error and "\n" not in reply.error


def test_a_broken_image_is_one_sentence(port, images):
    reply = post(port, broken_jpeg(images))
    assert reply.status == 400 and reply.error.startswith("The image sent can't be read: ")


def test_other_channels_are_refused(images):
    def predict_files(paths, batch_size, finish):
        error = UserError(f"The image {paths[0]} has 4 channels, but in_channels is 5.")
        yield Outcome(paths[0], None, error)

    with serving(Batches(lambda: stand_in(predict_files), 4, 4)) as port:
        wait_until_ready(port)
        reply = post(port, as_png(images[0]))
    assert reply.status == 400
    assert reply.error == "The image sent has 4 channels, but in_channels is 5."


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("?format=tiff", "format is 'tiff': Input should be 'mask', 'overlay' or 'json'."),
        ("?formt=json", "formt is 'json': Extra inputs are not permitted."),
        ("?mix_type=4", "mix_type is '4': Input should be less than or equal to 3."),
        ("?polygons=2", "polygons is '2': Input should be a valid boolean"),
    ],
)
def test_parameters_are_checked(port, images, query, text):
    reply = post(port, as_png(images[0]), query)
    assert reply.status == 422 and reply.error.startswith(text)


def test_forms_without_the_image_are_refused(port):
    for given in ({"name": "file"}, {"filename": ""}):
        body, headers = form(b"abc", **given)
        reply = post(port, body, headers=headers)
        assert reply.status == 400
        assert reply.error.startswith("There is no file in the field 'image' of the form.")
    broken = {"Content-Type": "multipart/form-data"}
    assert post(port, b"abc", headers=broken).error == "Missing boundary in multipart."


def test_other_types_and_addresses_are_told_what_to_do(port):
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        reply = post(port, b"abc", headers={"Content-Type": kind})
        assert reply.status == 415
        assert reply.error.startswith(f"The Content-Type is {kind}. Send an image as image/jpeg")
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/predict", 405),
    ):
        reply = send(port, method, path)
        assert reply.status == status
        assert reply.error.startswith(
            f"There is no {method} {path} here. POST an image to /predict"
        )


def test_bodies_beyond_the_limit_are_not_read(unet, images):
    batches = Batches(lambda: unet, 4, 64)
    with serving(batches, max_bytes=100_000) as port:
        wait_until_ready(port)
        announced = post(port, b"x" * 100_001)
        assert announced.status == 413
        assert announced.error == "The body is larger than 100,000 bytes. Send a smaller file."
        sent = 0

        def endless():
            nonlocal sent
            while sent < 2**30:
                sent += 2**16
                yield b"x" * 2**16

        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = "POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
            connection.sendall(f"{head}Content-Type: image/png\r\n\r\n".encode())
            for chunk in endless():
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                connection.settimeout(0.05 if sent > 100_000 else 0)
                try:
                    answer = connection.recv(4096)
                    break
                except (BlockingIOError, TimeoutError):
                    connection.settimeout(60)
        assert answer.startswith(b"HTTP/1.1 413")
        assert sent < 2**26
        wait_for(lambda: batches.taken == 0)
        assert post(port, as_png(images[0])).status == 200


# Limits


def stand_in(predict_files):
    """A Unet that does what a test says."""
    description = SimpleNamespace(
        network_shape=(4, 4), in_channels=3, name_classes=NAMES, to_json=dict
    )
    return SimpleNamespace(
        predict_files=predict_files,
        description=description,
        descriptions=[],
        paths=[],
        models=[],
        colors=voc_palette(256),
        max_pixels=10_000,
    )


@pytest.fixture
def gate():
    """A network that waits until it is opened; `entered` counts its calls."""
    opened, entered = threading.Event(), []

    def predict_files(paths, batch_size, finish):
        entered.append(len(paths))
        assert opened.wait(60)
        for path in paths:
            pixels = np.asarray(Image.open(path))
            yield Outcome(path, finish(path, pixels, pixels[..., 0] // 80), None)

    yield SimpleNamespace(open=opened.set, entered=entered, unet=stand_in(predict_files))
    opened.set()


def test_a_full_queue_refuses_and_the_others_are_answered(gate, images):
    batches = Batches(lambda: gate.unet, 1, 5)
    with serving(batches) as port, ThreadPoolExecutor(5) as pool:
        wait_until_ready(port)
        waiting = [pool.submit(post, port, as_png(image)) for image in images[:5]]
        wait_for(lambda: batches.taken == 5)
        refused = post(port, as_png(images[5]))
        assert refused.status == 429 and int(refused.headers["retry-after"]) >= 1
        assert refused.error.startswith("All 5 places are taken.")
        assert get(port, "/health").json["taken"] == 5  # which still answers
        gate.open()
        for one, image in zip(waiting, images, strict=False):
            np.testing.assert_array_equal(read(one.result()), image[..., 0] // 80)
        wait_for(lambda: batches.taken == 0)
        assert post(port, as_png(images[5])).status == 200


def test_what_waits_together_is_a_batch(gate, images):
    with serving(Batches(lambda: gate.unet, 4, 64)) as port, ThreadPoolExecutor(10) as pool:
        wait_until_ready(port)
        waiting = [pool.submit(post, port, as_png(image)) for image in images[:2]]
        wait_for(lambda: sum(gate.entered) == 2)
        taken = len(gate.entered)
        waiting += [pool.submit(post, port, as_png(image)) for image in images[2:10]]
        wait_for(lambda: get(port, "/health").json["taken"] == 10)
        gate.open()
        assert all(one.result().status == 200 for one in waiting)
    assert max(gate.entered[taken:]) > 1 and max(gate.entered) <= 4


def test_who_waits_too_long_is_told_and_who_is_segmented_is_answered(gate, images):
    batches = Batches(lambda: gate.unet, 1, 5)
    with serving(batches, max_wait=0.3) as port, ThreadPoolExecutor(2) as pool:
        wait_until_ready(port)
        slow = [pool.submit(post, port, as_png(images[0])) for _ in range(2)]
        wait_for(lambda: len(gate.entered) == 2)  # both threads are busy
        late = post(port, as_png(images[1]))
        assert late.status == 503 and "retry-after" in late.headers
        assert late.error == "The network had no time for it within 0.3 seconds. Try again."
        assert batches.taken == 2
        gate.open()
        assert [one.result().status for one in slow] == [200, 200]


def test_a_body_that_does_not_come_is_not_waited_for(gate):
    batches = Batches(lambda: gate.unet, 1, 5)
    with (
        serving(batches, max_wait=0.3) as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
    ):
        wait_until_ready(port)
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 408") and b"within 0.3 seconds" in answer
        wait_for(lambda: batches.taken == 0)


@pytest.mark.parametrize("sent", ["all", "half"])
def test_who_goes_away_gives_the_place_back(gate, images, sent):
    batches = Batches(lambda: gate.unet, 1, 5)
    with serving(batches) as port, ThreadPoolExecutor(2) as pool:
        wait_until_ready(port)
        busy = [pool.submit(post, port, as_png(images[0])) for _ in range(2)]
        wait_for(lambda: len(gate.entered) == 2)
        body = as_png(images[1])
        connection = socket.create_connection(("127.0.0.1", port))
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + (body if sent == "all" else body[:100]))
        wait_for(lambda: batches.taken == 3)
        connection.close()
        wait_for(lambda: batches.taken == 2)
        gate.open()
        assert [one.result().status for one in busy] == [200, 200]
        assert gate.entered == [1, 1]  # nothing was segmented for nobody


# What goes wrong within


def test_nothing_of_an_unforeseen_error_is_told(images, caplog):
    def predict_files(paths, batch_size, finish):
        raise RuntimeError("a secret")
        yield

    with serving(Batches(lambda: stand_in(predict_files), 4, 4)) as port:
        wait_until_ready(port)
        with caplog.at_level(logging.ERROR, "unet_keras"):
            reply = post(port, as_png(images[0]))
        assert get(port, "/health").status == 200
    assert reply.status == 500
    number = reply.json["id"]
    assert reply.error == f"Something went wrong here. The log has it under {number}."
    assert "secret" not in reply.body.decode()
    (record,) = (one for one in caplog.records if number in one.getMessage())
    assert "a secret" in str(record.exc_info[1])


def test_one_that_breaks_leaves_its_batch_alone(images):
    ready = threading.Event()

    def predict_files(paths, batch_size, finish):
        assert ready.wait(60)
        found = [np.asarray(Image.open(path)) for path in paths]
        if any(len(pixels) % 5 == 0 for pixels in found):
            raise MemoryError
        for path, pixels in zip(paths, found, strict=True):
            yield Outcome(path, finish(path, pixels, pixels[..., 0]), None)

    batches = Batches(lambda: stand_in(predict_files), 4, 64)
    with serving(batches) as port, ThreadPoolExecutor(10) as pool:
        wait_until_ready(port)
        waiting = [pool.submit(post, port, as_png(image)) for image in images[:10]]
        wait_for(lambda: batches.taken == 10)
        ready.set()
        for one, image in zip(waiting, images, strict=False):
            assert one.result().status == (500 if len(image) % 5 == 0 else 200)


def test_while_it_loads_it_says_so(unet, images):
    loaded = threading.Event()

    def load():
        assert loaded.wait(60)
        return unet

    with serving(Batches(load, 4, 4)) as port:
        for reply in (get(port, "/health"), post(port, as_png(images[0]))):
            assert reply.status == 503
        assert get(port, "/health").json["status"] == "loading"
        assert reply.error == "The network is being loaded. Try again soon."
        assert "retry-after" in reply.headers
        loaded.set()
        wait_until_ready(port)
        assert post(port, as_png(images[0])).status == 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_shows_in_the_health(images):
    def predict_files(paths, batch_size, finish):
        sys.exit()
        yield

    with serving(Batches(lambda: stand_in(predict_files), 4, 4)) as port:
        wait_until_ready(port)
        assert post(port, as_png(images[0])).status == 500
        wait_for(lambda: get(port, "/health").status == 503)
        assert get(port, "/health").json["status"] == "stopped"
        reply = post(port, as_png(images[0]))
        assert reply.status == 503 and reply.error.startswith("The network has stopped")


def test_what_is_taken_is_answered_at_the_end(gate, images):
    batches = Batches(lambda: gate.unet, 2, 64)
    with ThreadPoolExecutor(12) as pool:
        with serving(batches) as port:
            wait_until_ready(port)
            waiting = [pool.submit(post, port, as_png(image)) for image in images[:12]]
            wait_for(lambda: batches.taken == 12)
            threading.Timer(0.5, gate.open).start()  # after the end has begun
        for one, image in zip(waiting, images, strict=False):
            np.testing.assert_array_equal(read(one.result()), image[..., 0] // 80)


def test_intensities_that_are_no_numbers_are_null(tmp_path, unet, port):
    pixels = np.zeros((40, 50), np.float32)
    pixels[10:20] = np.nan
    path = tmp_path / "nan.tif"
    tifffile.imwrite(path, pixels)
    reply = post(port, path.read_bytes(), "?format=json")
    if reply.status == 200:  # or it is refused, in a sentence
        json.loads(reply.body, parse_constant=pytest.fail)
    else:
        assert reply.status == 400 and "\n" not in reply.error
