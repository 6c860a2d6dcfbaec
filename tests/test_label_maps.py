"""Label maps: colours and names as CVAT and plain text files give them."""

import random

import pytest

from errors import UserError
from utils.label_maps import is_background, is_void, read_label_map

CVAT = "# label:color_rgb:parts:actions\n"


@pytest.fixture
def write(tmp_path):
    """write(text): a file of that text, or those bytes; its path."""

    def write(text):
        path = tmp_path / "labelmap.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_cvat_and_plain_lines_say_the_same(write):
    expected = [("background", (0, 0, 0)), ("cat", (250, 50, 83)), ("dog", (51, 221, 255))]
    lines = "background:0,0,0::\ncat:250,50,83::\ndog:51,221,255::\n"
    assert read_label_map(write(CVAT + lines)).entries == expected
    assert read_label_map(write(lines)).entries == expected
    plain = "0 0 0 background\n250 50 83 cat\n51 221 255 dog\n"
    assert read_label_map(write(plain)).entries == expected
    assert read_label_map(write(plain)).note == ""


@pytest.mark.parametrize("name", ["background", "_background_", "Background"])
def test_a_late_background_becomes_id_0_and_that_is_said(write, name):
    path = write(f"{CVAT}cat:250,50,83::\n{name}:0,0,0::\ndog:51,221,255::\n")
    found = read_label_map(path)
    assert found.names == (name, "cat", "dog")
    assert found.ids == {(0, 0, 0): 0, (250, 50, 83): 1, (51, 221, 255): 2}
    assert found.note == (
        f"{path} names {name!r} on line 3, after other classes. It became id 0; the others follow "
        "in the order of the file."
    )


def test_without_a_background_the_first_line_is_id_0(write):
    found = read_label_map(write("1 2 3 road\n4 5 6 sky"))
    assert (found.ids, found.note) == ({(1, 2, 3): 0, (4, 5, 6): 1}, "")


@pytest.mark.parametrize("name", ["void", "VOID", "ignored", "__ignore__"])
def test_void_is_no_class(write, name):
    found = read_label_map(write(f"224 224 192 {name}\n0 0 0 background\n9 9 9 cat"))
    assert found.names == ("background", "cat")
    assert found.ids == {(224, 224, 192): 255, (0, 0, 0): 0, (9, 9, 9): 1}
    assert found.note == ""


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("person:192,128,128:head,hand:jumping,other", ("person", (192, 128, 128))),
        ("a:b:1,2,3::", ("a:b", (1, 2, 3))),
        ("  traffic   light : 1, 2, 3 ::  ", ("traffic light", (1, 2, 3))),
        ("猫:1,2,3::", ("猫", (1, 2, 3))),
        ("e\u0301l\u0301an:1,2,3::", ("\u00e9\u013aan", (1, 2, 3))),
        ("car:1,2,3", ("car", (1, 2, 3))),
        ("4 5 6:1,2,3::", ("4 5 6", (1, 2, 3))),
    ],
)
def test_lines_of_cvat(write, line, entry):
    assert read_label_map(write(f"{CVAT}background:0,0,0::\n\n{line}\n")).entries[1] == entry


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("1, 2, 3, road, wet", ("road, wet", (1, 2, 3))),
        ("1\t2\t3\troad", ("road", (1, 2, 3))),
        ("  1 2  3 4", ("4", (1, 2, 3))),
        ("1 2 3 a:b", ("a:b", (1, 2, 3))),
    ],
)
def test_plain_lines(write, line, entry):
    assert read_label_map(write(f"# r g b name\r\n0 0 0 sky\r\n{line}\r\n")).entries[1] == entry


def test_a_byte_order_mark_is_no_part_of_the_name(write):
    found = read_label_map(write(b"\xef\xbb\xbfbackground:0,0,0::\ncat:1,2,3::"))
    assert found.names == ("background", "cat")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CVAT + "background:0,0,0::\ncat::\n", "line 3: found 'cat::'. Expected 'name:r,g,b::'"),
        ("0 0 0 a\n1 2 b", "line 2: found '1 2 b'. Expected 'r g b name'"),
        ("0 0 0 a\nb 1 2 3", "line 2: found 'b 1 2 3'. Expected 'r g b name'"),
        (CVAT + "a:0,0,0::\n1 2 3 b", "line 3: found '1 2 3 b'. Expected 'name:r,g,b::'"),
        ("a:0,0,0::\nb:1,2,256::", "line 2: 'b' has the colour 1, 2, 256. Expected three numbers"),
        ("0 0 0 a\n-1 2 3 b", "line 2: 'b' has the colour -1, 2, 3. Expected three numbers"),
        ("0 0 0 a\n1 2 " + "9" * 5000 + " b", "line 2: 'b' has the colour 1, 2, 999"),
        (CVAT + "background:0,0,0::\n:1,2,3::", "line 3: the colour 1, 2, 3 has no name"),
        ("a:0,0,0::\nb:0,0,0::", r"line 2: 'b' has the colour \(0, 0, 0\), as 'a' on line 1"),
        ("0 0 0 a\n\n1 2 3 a", "line 3: the class 'a' stands on line 1 already"),
        ("0 0 0 background\n1 2 3 _Background_", "line 2: the class '_Background_' stands on"),
        ("", "names 0 classes. Expected 2 to 255"),
        ("0 0 0 a\n1 1 1 void", "names 1 classes. Expected 2 to 255"),
        ("".join(f"{i} {j} 0 n{i}_{j}\n" for i in range(16) for j in range(16)), "names 256 cla"),
        (b"\xff\xfe\x00", "can't be read: 'utf-8' codec"),
    ],
)
def test_what_is_no_label_map_is_refused(write, text, message):
    with pytest.raises(UserError, match=message):
        read_label_map(write(text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"The label map .* can't be read"):
        read_label_map(tmp_path / "none.txt")


def test_names_of_the_background_and_of_void():
    assert is_background("BACKGROUND") and is_background("_background_")
    assert not is_background("ground") and not is_void("voids")
    assert is_void("Void") and is_void("ignored")


def test_damaged_files_are_read_or_refused(write):
    """200 seeded changes: a message or a map in which no name and no colour stands twice."""
    source = CVAT + "cat:250,50,83:a,b:\nbackground:0,0,0::\ndog:51,221,255::\nvoid:9,9,9::\n"
    read = 0
    for seed in range(200):
        generator = random.Random(seed)
        data = bytearray(source.encode())
        for _ in range(generator.randint(1, 4)):
            at = generator.randrange(len(data))
            change = generator.randrange(3)
            if change == 0:
                data[at] = generator.choice(b"0:,\n\xff# ")
            elif change == 1:
                del data[at : at + generator.randint(1, 20)]
            else:
                data[at:at] = data[at : at + generator.randint(1, 20)]
        try:
            found = read_label_map(write(bytes(data)))
        except UserError:
            continue
        read += 1
        names, colors = zip(*found.entries, strict=True)
        assert len(set(names)) == len(set(colors)) == len(names)
    assert 0 < read < 200
