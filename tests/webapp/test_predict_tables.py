"""Tables of what is in an image."""

import numpy as np
import pytest

pytest.importorskip("gradio", reason="Gradio is not installed")

from utils.labels import voc_palette
from utils.prediction.regions import find_regions, write_regions
from webapp import predict_tables
from webapp.predict_tables import read_regions, shares_table

MASK = np.repeat(np.array([0, 1, 2, 1], np.uint8), [5, 3, 2, 2])[None].repeat(10, 0)


def test_shares_are_listed_from_the_most_on():
    table = shares_table(MASK, ["other", "<b>", "b", "not there"], voc_palette(256))
    assert table.index("&lt;b&gt;") < table.index(">b<")
    assert [f"{share}%" in table for share in ("41.67", "16.67", "0.00")] == [True, True, False]
    assert "<b>" not in table
    assert "not there" not in table
    assert "background:#800000" in table  # VOC's first class


def test_regions_are_those_of_the_file(tmp_path, monkeypatch):
    names = ["other", "a", "b"]
    write_regions(tmp_path / "r.csv", [("x.png", find_regions(MASK, 3)[1:])], names)
    headers, rows, count = read_regions(tmp_path / "r.csv")
    assert count == 3
    assert headers[:3] == ["class", "region", "area (px)"]
    assert [row[:4] for row in rows] == [["a", 1, 30, 6.0], ["a", 2, 20, 10.5], ["b", 1, 20, 8.5]]
    monkeypatch.setattr(predict_tables, "MOST_REGIONS", 2)
    assert read_regions(tmp_path / "r.csv")[1:] == (rows[:2], 3)
