"""The class names of YOLO data sets, compared with PyYAML where it is there."""

import random

import pytest

from errors import UserError
from utils.convert.yolo_names import read_yolo_names

FORMS = (
    "names: ['cat', 'traffic light', dog]",
    "names: [cat, \"traffic light\", 'dog']  # the classes",
    "names:\n  - cat\n  - traffic light\n  - dog\n",
    "names:\n- cat\n- 'traffic light'  # two words\n\n# and\n- dog\nnc: 3\n",
    "names:\n  0: cat\n  1: traffic light\n  2: dog\n",
    "names: {0: cat, 1: 'traffic light', 2: dog}",
    "names:\n  2: dog\n  0: cat\n  1: traffic light",
    "path: ../data\ntrain: images/train\nval: images/val\n\nnc: 3  # classes\nnames:\n  [\n"
    "    'cat',\n    'traffic light',  # of all kinds\n    'dog',\n  ]\nroboflow:\n  license: x\n",
    "names: [\n  cat,\n  traffic light,\n  dog\n]\n",
)


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize("text", FORMS)
def test_every_form_says_the_same(write, text):
    assert read_yolo_names(write(text)) == {0: "cat", 1: "traffic light", 2: "dog"}
    assert read_yolo_names(write(f"\ufeff{text}".replace("\n", "\r\n"))) == {
        0: "cat", 1: "traffic light", 2: "dog",
    }  # fmt: skip


def test_quotes_and_gaps(write):
    assert read_yolo_names(write("names: ['it''s', \"a \\\" b\", \"x, ]\", 'c: d', 12]")) == {
        0: "it's", 1: 'a " b', 2: "x, ]", 3: "c: d", 4: "12",
    }  # fmt: skip
    assert read_yolo_names(write("names:\n  7: cat\n  3: dog\n")) == {3: "dog", 7: "cat"}


def test_a_list_of_lines(write):
    assert read_yolo_names(write("cat\n\n traffic  light\n", "classes.txt")) == {
        0: "cat", 1: "traffic light",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nc: 3\n", "has 0 lines 'names:'. Expected one: names:"),
        ("names: [a]\nnames: [b]\n", "has 2 lines 'names:'"),
        ("names: [a, b", "of names, '' is not understood. .* with the bracket closed"),
        ("names: [a\nnc: 1", "of names, 'nc: 1' is not understood"),
        ("names: [a, [b]]", r"of names, '\[b\]\]' is not understood"),
        ("names: {a: 0}", "of names, 'a: 0}' is not understood"),
        ("names: *other", r"line 1: 'names: \*other' is not understood as names"),
        ("names: 80", "line 1: 'names: 80' is not understood"),
        ("names:\n  - a\n  b\n", "line 3: 'b' is not understood"),
        ("names:\n  - &x a\n", "line 2: '- &x a' is not understood"),
        ("names:\n  - a\n  1: b\n", "line 3: '1: b' is not understood"),
        ("names:\n  - cat: dog\n", "the name 'cat: dog' has a colon. Put it in quotes"),
        ("names:\n  0: a\n  0: b\n", "names the class 0 twice"),
        ("names: [a, b, a]", "names 'a' twice. Each class needs its own name"),
        ("names: []", "names no classes"),
        ("names: ['']", "has the label ''. Expected a name"),
        ("nc: 3\nnames: [a, b]", "has nc: 3, but 2 names. Correct the one that is wrong"),
        (b"names: [\xff]", "is neither UTF-8, UTF-16 nor GB18030 text"),
    ],
)
def test_what_is_not_understood_is_refused(write, text, message):
    with pytest.raises(UserError, match=message):
        read_yolo_names(write(text))


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml can't be read"):
        read_yolo_names(tmp_path / "none.yaml")


def test_what_is_read_is_what_yaml_says(write):
    """300 seeded changes of the forms: PyYAML reads the same, or there is a refusal."""
    yaml = pytest.importorskip("yaml")
    read = 0
    for seed in range(300):
        generator = random.Random(seed)
        text = list(generator.choice(FORMS))
        for _ in range(generator.randint(0, 2)):
            at = generator.randrange(len(text))
            if generator.random() < 0.5:
                del text[at : at + generator.randint(1, 3)]
            else:
                text.insert(at, generator.choice("-:,'\"[]{}#\n x0"))
        try:
            names = read_yolo_names(write("".join(text)))
        except UserError:
            continue
        read += 1
        try:
            expected = yaml.safe_load("".join(text))["names"]
        except yaml.YAMLError:
            continue  # what is broken elsewhere in the file does no harm
        if isinstance(expected, list):
            expected = dict(enumerate(expected))
        # As texts: YAML takes 0 for a number and "no" for false.
        assert {int(key): " ".join(str(name).split()) for key, name in expected.items()} == names
    assert read > 100
