"""The rules of a plan, on made fingerprints and made machines."""

import dataclasses
import math
import re

import pytest
from made_sets import CELLS, FAST, SLOW, STREET

from errors import UserError
from training.plan import HOURS, check_plan, make_plan


def plan(fingerprint=CELLS, machine=SLOW, has_imagenet=False, **settings):
    settings = {"time_limit": 12.0} | settings
    return make_plan(fingerprint, machine, settings, has_imagenet=has_imagenet)


def values(*args, **options):
    return plan(*args, **options).values


def test_more_time_gives_more_width_and_size():
    widths = [values(time_limit=minutes)["width"] for minutes in (2.0, 60.0, 1000.0)]
    assert widths == [16, 32, 64]
    sides = [values(time_limit=minutes)["val_input_shape"][0] for minutes in (1.0, 4.0, 12.0, 60.0)]
    assert sides == sorted(sides)
    assert sides[0] < sides[-1] >= 400


def test_a_faster_machine_is_as_good_as_more_time():
    # By half of the 40 seconds of setup: a twice as fast machine does as much in less.
    twice = dataclasses.replace(SLOW, per_pixel=1.1e-5, per_step=0.01)
    assert values(time_limit=30.0, machine=twice)["width"] == values(time_limit=59.5)["width"]


def test_thin_structures_are_kept_visible():
    thick = dataclasses.replace(CELLS, widths=(60.0, 50.0))
    assert values(thick, time_limit=20.0)["width"] > values(CELLS, time_limit=20.0)["width"]


def test_imagenet_where_the_time_is_enough_for_its_width():
    chosen = values(STREET, FAST, has_imagenet=True, time_limit=60.0)
    assert (chosen["model_path"], chosen["width"]) == ("imagenet", 64)
    chosen = values(STREET, SLOW, has_imagenet=True, time_limit=5.0)
    assert (chosen["model_path"], chosen["width"]) == ("", 16)
    assert values(STREET, FAST, time_limit=60.0)["model_path"] == ""


def test_narrow_networks_take_large_rates():
    rates = {width: values(width=width)["init_lr"] for width in (16, 32, 64)}
    assert rates == {16: 1e-3, 32: 5e-4, 64: 5e-4}
    assert values(STREET, FAST, has_imagenet=True, time_limit=60.0)["init_lr"] == 3e-4


def reason(made, name):
    return next(choice.reason for choice in made.choices if choice.name == name)


def steps_of(made):
    return float(reason(made, "unfreeze_batch_size").split()[0].replace(",", ""))


def test_many_small_crops_show_an_image_rarely():
    """What makes images too well known is how often all of one was seen, not how often a part."""
    made = plan(input_shape=(64, 64), width=32, time_limit=60.0)
    crops = steps_of(made) * made.values["unfreeze_batch_size"] / CELLS.count
    passes = crops * 64**2 / math.prod(made.values["val_input_shape"])
    assert passes < 100 < 1000 < crops
    assert made.values["rotation"] == made.values["noise"] == 0
    told = re.fullmatch(r"each pixel is seen (\d+) times: rarely", reason(made, "noise"))
    assert float(told[1]) == pytest.approx(passes, abs=1)


def test_a_step_of_a_wide_network_has_more_weights_to_change():
    weights = dataclasses.replace(SLOW, per_pixel=1e-12, per_step=1.0)  # and nothing else to do
    narrow, wide = (plan(machine=weights, width=width, time_limit=60.0) for width in (32, 64))
    assert steps_of(narrow) == pytest.approx(4 * steps_of(wide), rel=0.01)


def test_only_images_without_a_direction_are_turned():
    cells, street = values(CELLS), values(STREET)
    for name in ("flip_vertical", "quarter_turn"):
        assert (cells[name], street[name]) == (0.5, 0.0)
    assert (cells["flip"], street["flip"]) == (0.5, 0.5)
    # What is seen again and again is turned by any angle too, and bent.
    again = {"time_limit": 600.0, "crops_per_image": 1}
    cells_again, street_again = values(CELLS, FAST, **again), values(STREET, FAST, **again)
    for name in ("rotation", "elastic"):
        assert (cells[name], cells_again[name] > 0, street_again[name]) == (0.0, True, 0.0)
    assert street_again["noise"] > 0 == street["noise"]
    # A microscope has one scale; what is near in a street is far elsewhere.
    narrow, wide = (one["scale"][1] / one["scale"][0] for one in (cells, street))
    assert narrow < wide


@pytest.mark.parametrize(
    ("offset", "off"),
    [
        ((0.49, -0.49), set()),
        ((-0.6, 0.2), {"flip_vertical", "quarter_turn"}),
        ((0.1, 0.6), {"flip", "quarter_turn"}),
    ],
)
def test_masks_beside_what_they_show_are_not_mirrored_to_the_other_side(offset, off):
    made = plan(dataclasses.replace(CELLS, offset=offset))
    flips = {"flip", "flip_vertical", "quarter_turn"}
    assert {name for name in flips if made.values[name] == 0} == off
    for name in off:
        assert "masks lie 0.6 pixels beside what they show" in reason(made, name)


@pytest.mark.parametrize("machine", [SLOW, FAST])
@pytest.mark.parametrize("fingerprint", [CELLS, STREET])
@pytest.mark.parametrize("minutes", [0.0, 1.0, 5.0, 60.0])
def test_what_is_chosen_can_be_trained(fingerprint, machine, minutes):
    chosen = values(fingerprint, machine, time_limit=minutes)
    for name in ("input_shape", "val_input_shape"):
        assert all(side % 16 == 0 and side > 0 for side in chosen[name])
    crop, canvas = chosen["input_shape"], chosen["val_input_shape"]
    assert all(part <= whole for part, whole in zip(crop, canvas, strict=True))
    low, high = chosen["scale"]
    # At the middle of the scale the image has the size of validation.
    middle = (low + high) / 2 * crop[1] / canvas[1]
    assert 0.95 < middle < 1.1
    assert ("unfreeze_epoch" in chosen) == (not minutes)


def test_without_a_limit_it_plans_a_night():
    eight = plan(time_limit=0.0)
    assert f"{HOURS} hours (no time_limit is set)" in str(eight)
    crops = eight.values["unfreeze_epoch"] * eight.values["crops_per_image"] * CELLS.count
    seconds = crops * math.prod(eight.values["input_shape"]) * SLOW.pixel_seconds(64)
    assert 0.6 * HOURS < seconds / 3600 < HOURS


def test_memory_bounds_crop_and_batch():
    little = dataclasses.replace(FAST, memory=3 * 10**9)
    much = values(STREET, FAST, time_limit=600.0)
    less = values(STREET, little, time_limit=600.0)
    for chosen, memory in ((much, 64e9), (less, 3e9)):
        pixels = chosen["unfreeze_batch_size"] * math.prod(chosen["input_shape"])
        assert pixels * 5000 / 64 * chosen["width"] < 0.7 * memory
    assert less["unfreeze_batch_size"] < much["unfreeze_batch_size"]


def test_images_that_are_too_large_are_predicted_in_windows():
    large = dataclasses.replace(CELLS, size=(3648, 5472), widths=(60.0, 10.0))
    chosen = values(large, FAST, time_limit=60.0)
    assert chosen["val_window"] == (512, 512)
    assert math.prod(chosen["val_input_shape"]) > 1_500_000
    assert "val_window" not in values(CELLS, FAST)


def test_rare_classes_weigh_more():
    chosen = values(STREET, time_limit=60.0)
    # Root of the median share, 0.05, over the share: pole 0.01, sky 0.18; bicyclist is capped.
    assert chosen["cls_weights"][2] == pytest.approx(math.sqrt(0.05 / 0.01), abs=0.2)
    assert chosen["cls_weights"][0] < 1 < chosen["cls_weights"][9] <= 3
    assert chosen["cls_weights"][10] == 1.0  # there is nothing of it
    assert values(CELLS)["cls_weights"] == ()
    assert chosen["dice_present_only"] and not values(CELLS)["dice_present_only"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_shape", (64, 96)),
        ("val_input_shape", (256, 256)),
        ("scale", (1.0, 2.0)),
        ("unfreeze_batch_size", 7),
        ("width", 24),
        ("init_lr", 0.5),
        ("cls_weights", (1.0, 9.0)),
        ("flip_vertical", 0.1),
        ("rotation", 7.0),
        ("freeze_train", True),
        ("model_path", "mine.weights.h5"),
    ],
)
def test_what_is_set_stays_and_is_said(name, value):
    made = plan(**{name: value})
    (choice,) = [choice for choice in made.choices if choice.name == name]
    assert (choice.value, choice.reason) == (value, "as set")


def test_what_is_set_decides_the_rest():
    small = values(val_input_shape=(128, 128))
    assert small["input_shape"] == (128, 128)
    # Half the pixels of a batch, twice the batch.
    assert values(input_shape=(64, 64))["unfreeze_batch_size"] > 2


def test_the_table_gives_each_choice_its_reason():
    lines = str(plan(STREET)).splitlines()
    assert lines[0] == "Plan for 367 images of about 360x480 with 11 classes, in 12 minutes."
    assert len(lines) == 2 + len(plan(STREET).choices)
    (line,) = [line for line in lines if line.startswith("  flip_vertical ")]
    assert line.split(maxsplit=2)[1:] == ["0", "upside down, images are 20% alike"]


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"count": 1}, {}, "plan=auto needs at least 2 training images"),
        ({}, {"unfreeze_epoch": 9}, "a run ends by the clock or after its epochs. Leave one of"),
        ({}, {"model_path": "imagenet", "width": 32}, "weights are for width 64, and width is 32"),
    ],
)
def test_what_cannot_be_planned_is_one_message(changes, settings, message):
    with pytest.raises(UserError, match=message) as caught:
        plan(dataclasses.replace(CELLS, **changes), **settings)
    assert "\n" not in str(caught.value)


def test_a_plan_is_for_one_machine():
    check_plan("auto", 5.0)
    with pytest.raises(UserError, match="plan must be one of"):
        check_plan("best", 0.0)
    for settings, name in ((("off", 5.0), "time_limit"), (("auto", 0.0), "plan")):
        with pytest.raises(UserError, match=f"^{name} works on one machine"):
            check_plan(*settings, processes=2)


def test_a_plan_without_hope_says_so():
    crawling = dataclasses.replace(SLOW, per_pixel=1e-3)
    assert "Warning: that is time for" in plan(machine=crawling, time_limit=2.0).basis
    assert "Warning" not in plan(time_limit=12.0).basis


def test_a_set_that_fits_stays_in_memory():
    # 20 images of 512x512, three channels and a mask: 20 MiB.
    assert values(CELLS)["cache_gb"] == pytest.approx(20 / 1024 * 1.1, abs=0.1)
    large = dataclasses.replace(CELLS, count=100_000)
    assert values(large)["cache_gb"] == 0.0
    assert values(CELLS, dataclasses.replace(SLOW, memory=None))["cache_gb"] == 0.0
