"""The tables of a report: well-formed, escaped, sortable, and with the right numbers."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from stand_ins import counts_of

from utils.evaluation.html_tables import class_table, confusion_table
from utils.evaluation.metrics import Counts, score

HOSTILE = "<b>\"cat\"</b> & 'dog'"


def parsed(markup):
    """The markup as a tree: it fails unless it is well-formed."""
    return ElementTree.fromstring(f"<root>{markup}</root>")


def texts(tree, tag):
    return ["".join(one.itertext()) for one in tree.iter(tag)]


def columns_of(markup):
    """{title: texts of the column, the foot last}."""
    tree = parsed(markup)
    rows = [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]
    return {column[0]: list(column[1:]) for column in zip(*rows, strict=True)}


def scores_of(matrix, void=0, ignored=()):
    counts = counts_of(np.array(matrix))
    counts.void[:] = void
    return score(Counts(counts.matrix, counts.void, counts.boundary, ignored))


# The classes


def test_the_scores_of_classes_by_hand():
    table = columns_of(class_table(scores_of([[6, 2], [0, 2]], void=(1500, 0)), (HOSTILE, "b")))
    assert table == {
        "class": [HOSTILE, "b", "mean, or sum of pixels"],
        "IoU": ["75.00", "50.00", "62.50"],
        "Dice": ["85.71", "66.67", "76.19"],
        "recall": ["75.00", "100.00", "87.50"],
        "precision": ["100.00", "50.00", "75.00"],
        "share": ["80.00", "20.00", ""],
        "true pixels": ["8", "2", "10"],
        "predicted": ["6", "4", "10"],
        "on void": ["1,500", "0", "1,500"],
    }


def test_columns_that_are_all_0_or_nowhere_defined_are_left_out():
    markup = class_table(scores_of([[6, 2], [0, 2]]), ("a", "b"))
    assert {"on void", "boundary IoU"}.isdisjoint(columns_of(markup))
    assert "on void" not in markup
    nothing = columns_of(class_table(scores_of([[0, 0], [0, 0]], void=3), ("a", "b")))
    assert nothing == {
        "class": ["a", "b", "mean, or sum of pixels"],
        "IoU": ["-", "-", "-"],
        "on void": ["3", "3", "6"],
    }


def test_scores_that_are_0_stay():
    assert (
        columns_of(class_table(scores_of([[0, 2], [2, 0]]), ("a", "b")))["IoU"][:2] == ["0.00"] * 2
    )


def test_a_bar_is_as_long_as_its_value_which_stands_beside_it():
    tree = parsed(class_table(scores_of([[6, 2], [0, 2]]), ("a", "b")))
    bars = [cell for cell in tree.iter("td") if cell.get("class") == "bar"]
    assert [(bar.get("style"), bar.text) for bar in bars[:2]] == [
        ("--v:75.00", "75.00"),
        ("--v:85.71", "85.71"),
    ]


def test_cells_hold_what_they_are_sorted_by():
    """Numbers as they are, without rounding and commas; none where nothing is defined."""
    tree = parsed(class_table(scores_of([[2000, 1000, 0], [0, 0, 0], [0, 0, 1]]), ("a", "b", "c")))
    rows = [[cell.get("data-v") for cell in row] for row in tree.find(".//tbody")]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert rows[0][1] == "0.666666667"
    assert [row[5] for row in rows] == ["0.999666778", "0", "0.000333222259"]
    assert [row[6] for row in rows] == ["3000", "0", "1"]
    assert rows[1][3] is None  # recall of a class without pixels
    heads = tree.findall(".//thead//th")
    assert all(head.find("button").get("type") == "button" for head in heads)


def test_ignored_classes_are_marked():
    markup = class_table(scores_of([[0, 0], [0, 2]], ignored=(0,)), ("a", "b"))
    assert texts(parsed(markup), "th")[-3:-1] == ["a (ignored)", "b"]


# The confusion matrix


def test_a_confusion_matrix_by_hand():
    matrix = np.array([[1500, 500, 0], [0, 0, 1], [1, 999, 0]])
    tree = parsed(confusion_table(matrix, (HOSTILE, "b", "c")))
    cells = list(tree.iter("td"))
    assert [cell.text for cell in cells] == ["75", "25", None, None, None, "100", "0", "100", None]
    assert cells[0].get("title") == (
        f"{HOSTILE}, predicted as {HOSTILE}: 1,500 of 2,000 pixels, 75.00%"
    )
    assert cells[2].get("title") == f"{HOSTILE}, predicted as c: 0 of 2,000 pixels"
    assert cells[6].get("title").endswith("1 of 1,000 pixels, 0.10%")
    assert [cell.get("style") for cell in cells[:3]] == ["--s:0.750", "--s:0.250", None]
    assert [cell.get("class") for cell in cells[:5]] == ["full same", None, None, None, "same"]
    assert texts(tree, "th") == ["true \\ predicted", HOSTILE, "b", "c", HOSTILE, "b", "c"]
    assert tree.find("p") is None


def test_rows_and_columns_that_are_all_0_are_named_instead():
    matrix = np.array([[6, 2, 0, 0], [0, 0, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]])
    tree = parsed(confusion_table(matrix, ("a", "b", "c", HOSTILE)))
    assert texts(tree, "th") == ["true \\ predicted", "a", "b", "a", "c"]
    assert [cell.text for cell in tree.iter("td")] == ["75", "25", "100", None]
    assert texts(tree, "p") == [
        f"Not in the true masks, so without a row: b, {HOSTILE}.",
        f"Never predicted, so without a column: c, {HOSTILE}.",
    ]


@pytest.mark.parametrize(("classes", "turned"), [(8, False), (9, True)])
def test_names_of_many_columns_are_turned(classes, turned):
    table = parsed(confusion_table(np.eye(classes, dtype=int), ["name"] * classes)).find(".//table")
    assert ("turned" in table.get("class")) is turned


@pytest.mark.parametrize(("classes", "cells"), [(40, 1600), (41, 0), (255, 0)])
def test_a_matrix_of_many_classes_is_an_image(classes, cells):
    markup = confusion_table(np.eye(classes, dtype=int), [f"c{n}" for n in range(classes)])
    tree = parsed(markup.replace('left to right">', 'left to right"/>'))
    assert len(list(tree.iter("td"))) == cells
    assert (tree.find("img") is None) == (cells > 0)
    assert len(markup) < 300_000
