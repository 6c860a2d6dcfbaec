"""Charts and tables of a report: well-formed, escaped, and with the right numbers."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from utils.evaluation.html import confusion_table, histogram, page, swatch

HOSTILE = "<b>\"cat\"</b> & 'dog'"


def parsed(markup):
    """The markup as a tree: it fails unless it is well-formed."""
    return ElementTree.fromstring(f"<root>{markup}</root>")


def texts(tree, tag):
    return ["".join(one.itertext()) for one in tree.iter(tag)]


def test_a_page():
    text = page(HOSTILE, "<p>body</p>")
    assert text.startswith("<!doctype html>")
    assert "<p>body</p>" in text
    assert "<title>&lt;b&gt;&quot;cat&quot;&lt;/b&gt; &amp; &#x27;dog&#x27;</title>" in text
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert "<script" not in text
    assert not re.search("https?://|@import|url\\(", text)
    assert text.count("{") == text.count("}")


def test_a_swatch():
    tree = parsed(swatch("#012345", HOSTILE))
    assert "".join(tree.itertext()) == HOSTILE
    assert tree.find(".//i").get("style") == "background:#012345"


def test_a_histogram_by_hand():
    tree = parsed(histogram([0, 0.24, 0.25, 1, 0.99, np.nan], "pictures", bins=4))
    x, heights = zip(
        *((float(bar.get("x")), float(bar.get("height"))) for bar in tree.iter("rect")), strict=True
    )
    assert [height / heights[0] for height in heights] == [1, 0.5, 1]
    assert x[2] - x[1] == 2 * (x[1] - x[0]) > 0  # the third bin is empty
    assert texts(tree, "title") == ["0 to 25%: 2", "25 to 50%: 1", "75 to 100%: 2"]


@pytest.mark.parametrize("values", [[], [np.nan]])
def test_a_histogram_of_nothing(values):
    assert parsed(histogram(values, "pictures")).find(".//rect") is None


def test_a_confusion_matrix_by_hand():
    matrix = np.array([[1500, 500, 0], [0, 0, 0], [1, 999, 0]])
    tree = parsed(confusion_table(matrix, (HOSTILE, "b", "c")))
    cells = list(tree.iter("td"))
    assert [cell.text for cell in cells] == ["75", "25", None, None, None, None, "0", "100", None]
    assert cells[0].get("title") == (
        f"{HOSTILE}, predicted as {HOSTILE}: 1,500 of 2,000 pixels, 75.00%"
    )
    assert cells[2].get("title") == f"{HOSTILE}, predicted as c: 0 of 2,000 pixels"
    assert cells[3].get("title") == f"b, predicted as {HOSTILE}: 0 of 0 pixels"
    assert cells[6].get("title").endswith("1 of 1,000 pixels, 0.10%")
    assert [cell.get("style") for cell in cells[:3]] == ["--s:0.750", "--s:0.250", None]
    assert [cell.get("class") for cell in cells[:2]] == ["full", None]
    assert texts(tree, "th") == ["true \\ predicted", HOSTILE, "b", "c", HOSTILE, "b", "c"]


@pytest.mark.parametrize(("classes", "cells"), [(40, 1600), (41, 0), (255, 0)])
def test_a_matrix_of_many_classes_is_an_image(classes, cells):
    markup = confusion_table(np.eye(classes, dtype=int), [f"c{n}" for n in range(classes)])
    tree = parsed(markup.replace('left to right">', 'left to right"/>'))
    assert len(list(tree.iter("td"))) == cells
    assert (tree.find("img") is None) == (cells > 0)
    assert len(markup) < 300_000
