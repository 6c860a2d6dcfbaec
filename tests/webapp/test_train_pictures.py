"""Pictures of a training, found at the end of TensorBoard's files."""

import cv2
import numpy as np
import pytest

from utils.runs.tensorboard import EventFile
from webapp.train_pictures import Pictures, newest_pictures


def draw(shade):
    return np.full((6, 20, 3), shade, np.uint8)


def write_epoch(events, epoch, shades=()):
    """Writes what a training does after an epoch; with shades, one that was scored."""
    events.add_scalar("loss/train", 1 / epoch, epoch)
    for index, shade in enumerate(shades):
        events.add_scalar(f"iou/{index}", 0.5, epoch)
        events.add_image(f"pictures/val_{index}", draw(shade), epoch)
    events.flush()


def shades_of(pictures):
    """{name: the shade of a picture of one shade}."""
    found = {}
    for name, png in pictures.encoded.items():
        pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert pixels.shape == (6, 20, 3)
        assert len(np.unique(pixels)) == 1
        found[name] = int(pixels[0, 0, 0])
    return found


def test_those_of_the_last_epoch_that_was_scored(tmp_path):
    events = EventFile(tmp_path)
    write_epoch(events, 1, (10, 20))
    write_epoch(events, 2, (30, 40))
    write_epoch(events, 3)
    found = newest_pictures(tmp_path)
    assert found.epoch == 2
    assert shades_of(found) == {"val_0": 30, "val_1": 40}
    assert list(found.encoded) == ["val_0", "val_1"]


def test_a_run_that_went_on_has_a_second_file(tmp_path):
    write_epoch(EventFile(tmp_path), 1, (10,))
    later = EventFile(tmp_path)
    write_epoch(later, 2)
    assert shades_of(newest_pictures(tmp_path)) == {"val_0": 10}
    write_epoch(later, 3, (50,))
    assert newest_pictures(tmp_path).epoch == 3


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_what_is_being_written_is_left_for_later(tmp_path, cut):
    events = EventFile(tmp_path)
    write_epoch(events, 1, (10,))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    write_epoch(events, 2, (30,))
    path.write_bytes(path.read_bytes()[: len(whole) + cut])
    assert newest_pictures(tmp_path).epoch == 1


def test_none_yet(tmp_path):
    assert newest_pictures(tmp_path) == Pictures()
    write_epoch(EventFile(tmp_path), 1)
    assert newest_pictures(tmp_path) == Pictures(0, {})
    (tmp_path / "events.out.tfevents.9").write_bytes(b"no events")
    assert newest_pictures(tmp_path).encoded == {}
