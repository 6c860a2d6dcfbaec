"""One note of each kind, with its count, on the images of a run."""

import numpy as np
import pytest
from PIL import Image

from utils.images.notes import notes_on


def animation(path, frames=3):
    images = [Image.fromarray(np.full((8, 9, 3), 60 * i, np.uint8)) for i in range(frames)]
    images[0].save(path, save_all=True, append_images=images[1:])
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_further_images_are_not_dropped_in_silence(tmp_path, name):
    path = animation(tmp_path / name)
    assert notes_on([path]) == [
        f"{path} holds several images, of which only the first is segmented. Write each to a file "
        f"of its own; of an animation, mode=video segments all: --mode video --video_path {path}"
    ]
    assert notes_on([animation(path, 1)]) == []


def test_one_note_with_the_count(tmp_path):
    paths = [animation(tmp_path / f"{i}.gif") for i in range(3)]
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    (note,) = notes_on([tmp_path / "plain.png", *paths, tmp_path / "none.png"])
    assert note.startswith(f"3 images, such as {paths[0]}, hold several images, of which only")


def test_the_views_of_a_photo_are_no_images_of_their_own(tmp_path):
    image = Image.new("RGB", (8, 8))
    image.save(tmp_path / "a.mpo", save_all=True, append_images=[image])
    assert notes_on([tmp_path / "a.mpo"]) == []


def test_bits_of_which_the_weights_know_nothing(tmp_path):
    Image.fromarray(np.full((4, 5), 3000, np.uint16)).save(tmp_path / "a.png")
    (note,) = notes_on([tmp_path / "a.png"])
    assert "a.png has more than 8 bits, of which these weights know no range: each was" in note
    assert notes_on([tmp_path / "a.png"], (0.0, 4095.0)) == []
