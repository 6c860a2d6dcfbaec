"""One table of the tables of many images."""

import csv

import pytest

from utils.prediction.region_tables import join_tables
from utils.prediction.regions import Region, write_regions

REGION = Region(1, 2, 40, 5.25, 7 + 2 / 3, 3, 4, 10, 8, 30.5, 17.0)
NAMES = ("background", "cell")


@pytest.fixture
def table(tmp_path):
    """table(name, count, *size): writes the table of an image with so many regions."""

    def write(name, count, *size):
        path = tmp_path / "tables" / f"{name}.csv"
        write_regions(path, [(f"{name}.png", [REGION] * count)], NAMES, *size)
        return path

    return write


def read(path):
    assert path.read_bytes().startswith(b"\xef\xbb\xbfpicture,class_id,")
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_rows_follow_each_other_under_the_names_given(tmp_path, table):
    path = tmp_path / "out" / "regions.csv"
    join_tables(path, [("sub/a.png", table("a", 2)), ("b.png", table("b", 0)),
                       ("=c.png", table("c", 1))])  # fmt: skip
    rows = read(path)
    assert [row["picture"] for row in rows] == ["sub/a.png", "sub/a.png", "'=c.png"]
    [expected, _] = read(tmp_path / "tables" / "a.csv")
    assert rows[0] == expected | {"picture": "sub/a.png"}
    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n") == 4


def test_sizes_that_only_some_images_have(tmp_path, table):
    path = tmp_path / "regions.csv"
    join_tables(path, [("a", table("a", 1)), ("b", table("b", 1, 0.5, "um"))])
    first, second = read(path)
    assert (first["area_um2"], second["area_um2"]) == ("", "10")
    assert first["area_px"] == second["area_px"] == "40"


def test_no_images_and_files_that_are_missing(tmp_path, table):
    path = tmp_path / "regions.csv"
    join_tables(path, [])
    before = path.read_bytes()
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        join_tables(path, [("a", table("a", 1)), ("b", tmp_path / "none.csv")])
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["regions.csv", "tables"]


def test_tables_of_earlier_versions_have_fewer_columns(tmp_path, table):
    old = tmp_path / "old.csv"
    old.write_text("picture,class_id,class,region,area_px\r\nx,1,cell,1,7\r\n", "utf-8-sig")
    path = tmp_path / "regions.csv"
    join_tables(path, [("a", old), ("b", table("b", 1))])
    first, second = read(path)
    assert (first["area_px"], first["perimeter_px"]) == ("7", "")
    assert second["perimeter_px"] == "30.5"
