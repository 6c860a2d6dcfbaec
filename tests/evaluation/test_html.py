"""The frame of a report, and its chart: well-formed, escaped, and with the right numbers."""

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from utils.evaluation.html import histogram, page, swatch

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
    assert not re.search("https?://|@import|url\\(", text)
    assert text.count("{") == text.count("}")


def test_the_policy_allows_the_one_script_and_no_other():
    text = page("title", "")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r"script-src ([^;\"]*)\"", text)
    assert policy == f"'sha256-{digest}'"


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
