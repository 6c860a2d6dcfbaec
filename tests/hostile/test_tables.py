"""Names in tables: whatever a class or a file is called, no spreadsheet takes it for a formula."""

import csv

import numpy as np
import pytest
from stand_ins import counts_of

from utils.data.voc import Sample
from utils.evaluation.metrics import score
from utils.evaluation.score_tables import ImageScore, write_confusion_matrix, write_images
from utils.files import csv_text
from utils.prediction.regions import find_regions, write_regions

# How cells begin that OWASP names, https://owasp.org/www-community/attacks/CSV_Injection.
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =cmd|' /C calc'!A0", "＝1"]
PLAIN = ["cat", "a=b", "'quoted'", "1-2", "猫", "", "a,b", 'say "x"', "<b>", "two\nlines"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_gets_an_apostrophe(name):
    assert csv_text(name) == f"'{name}"


@pytest.mark.parametrize("name", PLAIN)
def test_any_other_name_stays(name):
    assert csv_text(name) == name


def cells_of(path):
    with open(path, newline="", encoding="utf-8-sig") as file:
        return [cell for row in csv.reader(file) for cell in row]


def assert_harmless(path, names):
    cells = cells_of(path)
    for cell in cells:
        start = cell.lstrip()[:1]
        is_number = cell.replace(".", "", 1).replace("-", "", 1).isdigit()
        assert start not in ("=", "+", "-", "@", "＝") or is_number, cell
    for name in names:
        assert csv_text(name) in [cell.removeprefix("IoU ") for cell in cells]


def test_all_tables_hold_names_as_text(tmp_path):
    names = FORMULAS + PLAIN
    matrix = np.eye(len(names), dtype=int)
    write_confusion_matrix(matrix, names, tmp_path / "matrix.csv")
    assert_harmless(tmp_path / "matrix.csv", names)
    scores = score(counts_of(matrix))
    images = [
        ImageScore(Sample(name, None, None), (2, 3), 6, 0, scores.accuracy, scores.miou, scores.iou)
        for name in names
    ]
    write_images(images, names, tmp_path / "images.csv")
    assert_harmless(tmp_path / "images.csv", names)
    mask = np.arange(len(names), dtype=np.uint8)[None]
    regions = find_regions(mask, len(names))
    write_regions(tmp_path / "regions.csv", [(name, regions) for name in names], names)
    assert_harmless(tmp_path / "regions.csv", names)


def test_a_file_name_that_is_no_utf_8_is_written(tmp_path):
    scores = score(counts_of(np.eye(2, dtype=int)))
    sample = Sample("a\udcff", None, None)
    one = ImageScore(sample, (2, 3), 6, 0, scores.accuracy, scores.miou, scores.iou)
    write_images([one], ["a", "b"], tmp_path / "images.csv")
    assert "a\\udcff" in cells_of(tmp_path / "images.csv")
