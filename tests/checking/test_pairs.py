"""Images and masks by name: exact pairs, near pairs, and what is left over."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import UserError
from utils.checking.pairs import find_pairs


@pytest.fixture
def make(tmp_path):
    """make(images, masks): empty files of these names; returns VOCdevkit_path."""

    def touch(images, masks):
        for folder, names in (("JPEGImages", images), ("SegmentationClass", masks)):
            (tmp_path / "VOC2007" / folder).mkdir(parents=True, exist_ok=True)
            for name in names:
                (tmp_path / "VOC2007" / folder / name).touch()
        return tmp_path

    return touch


def names(samples):
    return [(one.name, one.image_path.name, one.mask_path.name) for one in samples]


def test_pairs_are_sorted_and_complete(make):
    samples, almost, problems = find_pairs(
        make(["b.JPG", "a.jpeg", "c.d.bmp"], ["c.d.png", "b.PNG", "a.png"])
    )
    assert names(samples) == [
        ("a", "a.jpeg", "a.png"),
        ("b", "b.JPG", "b.PNG"),
        ("c.d", "c.d.bmp", "c.d.png"),
    ]
    assert samples[0].image_path.parent.name == "JPEGImages"
    assert samples[0].mask_path.parent.name == "SegmentationClass"
    assert almost == problems == []


def test_what_has_no_partner_is_named(make):
    samples, almost, problems = find_pairs(make(["a.jpg", "b.jpg"], ["a.png", "z.png", "y.png"]))
    assert names(samples) == [("a", "a.jpg", "a.png")]
    assert almost == []
    assert problems == [
        ("picture_without_mask", "b.jpg"),
        ("mask_without_picture", "y.png"),
        ("mask_without_picture", "z.png"),
    ]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("Cat.jpg", "cat.png"),
        ("cat.jpg", "cat .png"),
        (" cat.jpg", "cat.png"),
        ("cat.jpg", "cat.jpg.png"),
        ("cat.jpg", "cat.bmp"),
        ("cat.jpg", "cat.jpg"),
        ("CAT.png", "Cat.JPG.PNG"),
        ("Straße.jpg", "STRASSE.png"),
    ],
)
def test_names_that_nearly_pair(make, image, mask):
    samples, almost, problems = find_pairs(make(["fine.jpg", image], ["fine.png", mask]))
    assert names(samples) == [("fine", "fine.jpg", "fine.png")]
    assert names(almost) == [(image[: image.rindex(".")], image, mask)]
    assert problems == [("names_almost_pair", f"{image} and {mask}")]


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["cat.jpg", "CAT.jpg"], ["Cat.png"]),
        (["cat.jpg"], ["Cat.png", "CAT.png"]),
        (["v1.5.jpg"], ["v1.png"]),  # ".5" is not an extension of images
    ],
)
def test_near_names_that_are_not_unique_are_no_pair(make, images, masks):
    samples, almost, problems = find_pairs(make(images, masks))
    assert samples == almost == []
    assert sorted(problems) == sorted(
        [("picture_without_mask", name) for name in images]
        + [("mask_without_picture", name) for name in masks]
    )


def test_a_paired_file_is_not_paired_again(make):
    samples, almost, problems = find_pairs(make(["a.jpg", "A.jpg"], ["a.png"]))
    assert names(samples) == [("a", "a.jpg", "a.png")]
    assert almost == []
    assert problems == [("picture_without_mask", "A.jpg")]


def test_duplicate_names(make):
    _, _, problems = find_pairs(make(["a.jpg", "a.png", "b.jpg"], ["a.png", "b.PNG", "b.png"]))
    assert problems == [
        ("duplicate_names", "a.jpg and a.png"),
        ("duplicate_names", "b.PNG and b.png"),
    ]


COMPOSED, APART = "é한", "e\u0301\u1112\u1161\u11ab"  # the same letters in NFC and NFD


@pytest.mark.parametrize(("image", "mask"), [(COMPOSED, APART), (APART, COMPOSED)])
def test_unicode_forms_make_no_difference(make, image, mask):
    samples, almost, problems = find_pairs(make([f"{image}.jpg"], [f"{mask}.png"]))
    assert names(samples) == [(image, f"{image}.jpg", f"{mask}.png")]
    assert almost == problems == []
    # Nor where something else differs.
    base = make([f"x{image}.jpg"], [f"X{mask}.tif"])
    assert names(find_pairs(base)[1]) == [(f"x{image}", f"x{image}.jpg", f"X{mask}.tif")]


def test_two_unicode_forms_in_one_folder_are_duplicates(make):
    samples, _, problems = find_pairs(
        make([f"{COMPOSED}.jpg", f"{APART}.jpg"], [f"{COMPOSED}.png"])
    )
    assert [one.image_path.name for one in samples] == [f"{APART}.jpg"]
    text = f"{APART}.jpg and {COMPOSED}.jpg (the letters in two Unicode forms)"
    assert problems == [("duplicate_names", text)]


@pytest.mark.parametrize(
    ("image", "mask", "sentence"),
    [
        ("{}.jpg", "{}_mask.png", "5 pairs: The masks have '_mask' behind the name, such as"),
        ("{}.jpg", "{}_label.tif", "5 pairs: The masks have '_label' behind the name, such as"),
        ("{}.jpg", "{}_segmentation.png", "5 pairs: The masks have '_segmentation' behind the"),
        ("{}.jpg", "{}-seg.png", "5 pairs: The masks have '-seg' behind the name, such as"),
        ("{}.jpg", "{:03}.png", "5 pairs: Images and masks have the same names, with their num"),
    ],
)
def test_names_that_pair_by_a_rule(make, image, mask, sentence):
    numbers = [7, 8, 9, 10, 11]
    images, masks = ([name.format(n) for n in numbers] for name in (image, mask))
    samples, almost, problems = find_pairs(make(["fine.jpg", *images], ["fine.png", *masks]))
    assert names(samples) == [("fine", "fine.jpg", "fine.png")]
    expected = {(str(n), image.format(n), mask.format(n)) for n in numbers}
    assert set(names(almost)) == expected
    ((kind, text),) = problems
    assert kind == "names_pair_by_rule"
    assert text.startswith(sentence)


def test_a_rule_of_few_names_counts_only_where_none_are_equal(make):
    samples, almost, problems = find_pairs(make(["a.jpg", "b.jpg"], ["a_old.png", "b_old.png"]))
    assert samples == []
    assert len(almost) == 2
    assert problems[0][1].startswith("2 pairs: The masks have '_old' behind the name")
    samples, almost, problems = find_pairs(make(["c.jpg"], ["c.png"]))
    assert names(samples) == [("c", "c.jpg", "c.png")]
    assert almost == []
    assert [kind for kind, _ in problems] == ["picture_without_mask"] * 2 + [
        "mask_without_picture"
    ] * 2


def test_a_rule_that_leaves_a_doubt_is_none(make):
    _, almost, problems = find_pairs(
        make(["1.jpg", "2.jpg"], ["1_cat.png", "2_cat.png", "1_dog.png", "2_dog.png"])
    )
    assert almost == []
    assert len(problems) == 6


def test_other_files_are_passed_over(make):
    base = make(["a.jpg", "Thumbs.db", ".hidden.jpg", "notes.txt"], ["a.png", ".a.png", "a.json"])
    samples, almost, problems = find_pairs(base)
    assert names(samples) == [("a", "a.jpg", "a.png")]
    assert almost == problems == []


def test_the_path_may_be_the_folder_itself(make):
    base = make(["a.jpg"], ["a.png"])
    assert find_pairs(base / "VOC2007") == find_pairs(base)


@pytest.mark.parametrize("missing", ["JPEGImages", "SegmentationClass"])
def test_a_missing_folder(make, missing):
    base = make([], [])
    (base / "VOC2007" / missing).rmdir()
    with pytest.raises(UserError, match=f"here is no folder .*{missing}"):
        find_pairs(base)


STEMS = st.text("aAbB .", min_size=1, max_size=4).filter(lambda stem: not stem.startswith("."))
FILES = st.lists(
    st.tuples(STEMS, st.sampled_from([".jpg", ".PNG", ".png", ".jpg.png"])), max_size=5
)


@given(FILES, FILES)
def test_every_file_is_told_of_once(tmp_path_factory, images, masks):
    """A file is in a pair, in a near pair, alone, refused by name, or one of two of a name."""
    base = tmp_path_factory.mktemp("voc")
    present = set()
    for folder, files in (("JPEGImages", images), ("SegmentationClass", masks)):
        (base / folder).mkdir()
        for stem, extension in files:
            (base / folder / (stem + extension)).touch()
            present.add((folder, stem + extension))
    samples, almost, problems = find_pairs(base)
    for one in samples:
        assert one.image_path.stem == one.mask_path.stem == one.name  # letters of ASCII alone
    told = [(path.parent.name, path.name) for one in [*samples, *almost] for path in one[1:]]
    told += [("JPEGImages", text) for kind, text in problems if kind == "picture_without_mask"]
    told += [
        ("SegmentationClass", text) for kind, text in problems if kind == "mask_without_picture"
    ]
    assert len(told) == len(set(told))
    assert set(told) <= present
    doubled = {
        name for kind, text in problems if kind == "duplicate_names" for name in text.split(" and ")
    }
    unlistable = {ast.literal_eval(text) for kind, text in problems if kind == "names_unlistable"}
    assert {name for _, name in present - set(told)} <= doubled | unlistable
    assert all(name.strip().startswith(".") for name in unlistable)  # blank but for its end
