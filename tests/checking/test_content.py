"""What a mask file holds: the colours of its palette."""

import numpy as np
import pytest

from utils.checking.content import read_content
from utils.labels import voc_palette


@pytest.mark.parametrize("value", [1, 85, 86, 254, 255])
def test_the_palette_of_high_values(write_mask, tmp_path, value):
    path = write_mask(tmp_path / "mask.png", np.array([[0, value]], np.uint8))
    red, green, blue = voc_palette(256)[value].tolist()
    assert read_content(path).palette == {0: 0, value: red << 16 | green << 8 | blue}
