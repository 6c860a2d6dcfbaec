"""Names of images and masks that pair by a rule of the whole set, or not at all."""

import random

import pytest

from utils.data.pairing import suggest_pairs


@pytest.mark.parametrize(
    ("image", "mask", "sentence"),
    [
        ("{}", "{}", "Images and masks have the same names."),
        ("{}", "{}_mask", "The masks have '_mask' behind the name, such as 7 and 7_mask."),
        ("{}", "{}_label", "The masks have '_label' behind the name, such as 7 and 7_label."),
        ("{}", "{}_segmentation", "The masks have '_segmentation' behind the name, such as"),
        ("{}", "{}-seg", "The masks have '-seg' behind the name, such as 7 and 7-seg."),
        ("{}", "{}_gt", "The masks have '_gt' behind the name, such as 7 and 7_gt."),
        ("{}", "mask_{}", "The masks have 'mask_' before the name, such as 7 and mask_7."),
        ("{}", "mask{}", "The masks have 'mask' before the name, such as 7 and mask7."),
        ("{}", "{}_L", "The masks have '_L' behind the name, such as 7 and 7_L."),
        ("{}", "{}.jpg", "The masks have '.jpg' behind the name, such as 7 and 7.jpg."),
        ("{}_sat", "{}_mask", "The images have '_sat' behind the name and the masks have '_mask'"),
        ("{}_sat", "{}", "The images have '_sat' behind the name, such as 7_sat and 7."),
        ("{}_training", "{}_manual1", "The images have '_training' behind the name and the masks"),
        ("img_{}", "{}_mask", "The images have 'img_' before the name and the masks have '_mask'"),
        ("img{}", "gt{}", "The images have 'img' before the name and the masks have 'gt' before"),
        ("{}", "{:03}", "Images and masks have the same names, with their numbers padded"),
        ("{:04}", "{}_mask", "The masks have '_mask' behind the name, with their numbers padded"),
        ("frame_{}", "frame_{:05}", "Images and masks have the same names, with their numbers"),
        ("IMG {} ", "img {}", "Images and masks have the same names, in another case, with space"),
        ("Käfer{}", "Ka\u0308fer{}", "Images and masks have the same names, in another case"),
        ("town_{}_leftImg8bit", "town_{}_gtFine_labelIds", "The images have '_leftImg8bit' behin"),
    ],
)
def test_rules(image, mask, sentence):
    numbers = [7, 8, 9, 10, 11, 100, 101, 1000]
    images = [image.format(number) for number in numbers]
    masks = [mask.format(number) for number in numbers]
    found = suggest_pairs(images, reversed(masks))
    assert found.masks == dict(zip(images, masks, strict=True))
    assert found.sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("ISIC_0000000 ISIC_0000001", "ISIC_0000000_segmentation ISIC_0000001_segmentation"),
        ("0001TP_006690 0006R0_f00930", "0001TP_006690_L 0006R0_f00930_L"),  # CamVid
        ("100694_sat 102122_sat", "100694_mask 102122_mask"),  # DeepGlobe
        ("21_training 22_training", "21_manual1 22_manual1"),  # DRIVE
        ("00087a6bd4dc_01 00087a6bd4dc_02", "00087a6bd4dc_01_mask 00087a6bd4dc_02_mask"),  # Carvana
        ("Image_01L Image_01R", "Image_01L_1stHO Image_01R_1stHO"),  # CHASE DB1
    ],
)
def test_names_of_public_data_sets(images, masks):
    pairs = dict(zip(images.split(), masks.split(), strict=True))
    assert suggest_pairs(images.split(), masks.split()).masks == pairs


def test_a_single_pair():
    assert suggest_pairs(["a"], ["a"]).masks == {"a": "a"}
    assert suggest_pairs(["a"], ["a_mask"]).masks == {"a": "a_mask"}
    assert suggest_pairs(["a_sat"], ["a_mask"]).masks == {"a_sat": "a_mask"}
    assert suggest_pairs(["1"], ["01"]).masks == {"1": "01"}
    assert suggest_pairs(["a"], ["b"]) is None


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("1 2", "1_cat 2_cat 1_dog 2_dog"),  # two classes
        ("1 2 3", "1_cat 2_cat 3_cat 1_dog"),
        ("1 2", "1_1 1_2 2_1 2_2"),  # instances
        ("1_left 2_left", "1_right 2_right"),  # two images, none a mask
        ("1_pre 2_pre 1_post 2_post", "1 2"),  # which of the two?
        ("1_a 2_a", "1_b 2_b"),
        ("a_slice2 b_slice2", "a_slice3_mask b_slice3_mask"),
        ("7 07", "007 0007"),  # the same number twice
        ("a b c a_mask", "a_mask b_mask c_mask"),  # is a_mask an image?
        ("a b", "c d"),
        ("", "a"),
        ("a", ""),
        ("a b c d e f", "a x y z v w"),  # one of six is chance
    ],
)
def test_what_is_ambiguous_pairs_not(images, masks):
    assert suggest_pairs(images.split(), masks.split()) is None


def test_what_is_left_over_stays_alone():
    found = suggest_pairs(["1", "2", "3", "4"], ["1_mask", "2_mask", "9_mask"])
    assert found.masks == {"1": "1_mask", "2": "2_mask"}
    found = suggest_pairs(["a", "b"], ["a", "b", "a_old"])
    assert found.masks == {"a": "a", "b": "b"}


def test_equal_names_come_before_other_rules():
    assert suggest_pairs(["7", "07"], ["7", "07"]).masks == {"7": "7", "07": "07"}
    assert suggest_pairs(["a", "a_mask"], ["a", "a_mask"]).masks == {"a": "a", "a_mask": "a_mask"}
    assert suggest_pairs(["A", "a"], ["A", "a"]).masks == {"A": "A", "a": "a"}


def test_pairs_of_random_names_are_right_or_none():
    """500 seeded sets: a mask made from another image is never taken for this image's."""
    right = 0
    for seed in range(500):
        generator = random.Random(seed)
        pad, image_pad = generator.choice([1, 3]), generator.choice([1, 4])
        before, behind = generator.choice(["", "mask_", "gt-"]), generator.choice(["", "_mask"])
        stem = generator.choice(["", "scan", "site 1 ", "a_b-"])
        numbers = generator.sample(range(200), generator.randint(1, 12))
        images = [f"{stem}{number:0{image_pad}}" for number in numbers]
        made = [f"{before}{stem}{number:0{pad}}{behind}" for number in numbers]
        masks = [mask for mask in made if generator.random() < 0.8]
        generator.shuffle(masks)
        found = suggest_pairs(images, masks)
        if found:
            true = dict(zip(images, made, strict=True))
            assert all(true[image] == mask for image, mask in found.masks.items()), seed
            right += 1
    assert right > 250
