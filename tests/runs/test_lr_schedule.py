"""The learning rate by epoch, against tables made by hand."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.runs.lr_schedule import SCHEDULES, learning_rate, scaled_rate


def rates(total, decay_type, init_lr=1e-2, min_lr=1e-4):
    return [learning_rate(epoch, total, init_lr, min_lr, decay_type) for epoch in range(total)]


def test_cosine_of_100_epochs():
    # w = 3, s = 1e-3, n = 5; the half cosine takes the 92 epochs between 3 and 95.
    table = rates(100, "cos")
    assert table[:4] == pytest.approx([1e-3, 2e-3, 5e-3, 1e-2])  # s + 9e-3 (0, 1/9, 4/9, 1)
    quarter, half = 1e-4 + 9.9e-3 * (0.5 + math.sqrt(0.125)), 5.05e-3
    assert [table[26], table[49]] == pytest.approx([quarter, half])
    assert table[72] == pytest.approx(1e-4 + 1e-2 - quarter)  # point symmetric about the half
    assert table[94] > 1e-4
    assert table[95:] == [1e-4] * 5


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (1, [1e-3]),
        (2, [1e-3, 1e-2]),
        (3, [1e-3, 1e-2, 1e-4]),
        (4, [1e-3, 1e-2, 5.05e-3, 1e-4]),  # halfway between epochs 1 and 3
    ],
)
def test_cosine_of_few_epochs(total, expected):
    assert rates(total, "cos") == pytest.approx(expected)


def test_warm_up_and_tail_grow_with_the_epochs_up_to_a_limit():
    assert rates(40, "cos")[:3] == pytest.approx([1e-3, 1e-3 + 9e-3 / 4, 1e-2])  # w = 2
    assert rates(40, "cos").count(1e-4) == 2
    assert rates(400, "cos")[:4] == pytest.approx([1e-3, 2e-3, 5e-3, 1e-2])  # w = 3
    assert rates(400, "cos").count(1e-4) == 15


def test_warm_up_starts_at_1e_6_at_least():
    assert learning_rate(0, 100, 5e-6, 5e-8) == 1e-6


def test_no_rate_of_the_warm_up_is_above_the_highest():
    # s = min(max(3e-8, 1e-6), 3e-7)
    assert [learning_rate(epoch, 100, 3e-7, 3e-9) for epoch in range(4)] == [3e-7] * 4


def test_cosine_is_the_default():
    assert learning_rate(50, 100, 1e-2, 1e-4) == learning_rate(50, 100, 1e-2, 1e-4, "cos")


@pytest.mark.parametrize(
    ("total", "halvings"),
    [
        (1, [0]),
        (2, [0, 5]),
        (3, [0, 3, 6]),
        (10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (20, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]),
        (15, [0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9]),  # a step each 1.5 epochs
    ],
)
def test_steps(total, halvings):
    # min_lr / init_lr = 2^-9, so each of the nine steps halves the rate.
    expected = [2.0**-halving for halving in halvings]
    assert rates(total, "step", 1.0, 2.0**-9) == pytest.approx(expected)


# The article's run, 100 epochs from 1e-4 to 1e-6.
# cos: s = 1e-5, w = 3, n = 5. Warm-up: 1e-5 + 9e-5 (0, 1, 4, 9) / 9. Epochs 26, 49 and 72
# are 1/4, 1/2 and 3/4 of the way from 3 to 95: 1e-6 + 4.95e-5 (1 + cos 45, 90, 135 degrees).
# step: 100^(-1/9) = 0.599484 after each ten epochs; 100^(-3/9) = 0.215443 after thirty.
TABLE_OF_100 = {
    "cos": {
        0: 1e-5, 1: 2e-5, 2: 5e-5, 3: 1e-4,
        26: 8.550179e-5, 49: 5.05e-5, 72: 1.549821e-5, 95: 1e-6, 99: 1e-6,
    },
    "step": {
        0: 1e-4, 9: 1e-4, 10: 5.99484e-5, 19: 5.99484e-5, 20: 3.59381e-5, 29: 3.59381e-5,
        30: 2.15443e-5, 40: 1.29155e-5, 50: 7.74264e-6, 60: 4.64159e-6, 70: 2.78256e-6,
        80: 1.66810e-6, 89: 1.66810e-6, 90: 1e-6, 99: 1e-6,
    },
}  # fmt: skip


@pytest.mark.parametrize("decay_type", SCHEDULES)
def test_the_articles_100_epochs(decay_type):
    for epoch, rate in TABLE_OF_100[decay_type].items():
        assert learning_rate(epoch, 100, 1e-4, 1e-6, decay_type) == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize(
    ("batch_size", "expected"), [(1, 6.25e-6), (2, 1.25e-5), (16, 1e-4), (64, 4e-4)]
)
def test_a_rate_scaled_by_the_batch_size(batch_size, expected):
    assert scaled_rate(1e-4, batch_size) == pytest.approx(expected)


def test_a_scaled_rate_is_not_clamped():
    assert scaled_rate(1e-2, 64, nominal=2) == pytest.approx(0.32)
    assert scaled_rate(1e-6, 2) == pytest.approx(1.25e-7)


@given(st.integers(1, 500), st.floats(1e-5, 1), st.floats(1e-4, 0.1))
def test_rates_stay_within_bounds_and_fall_after_the_warm_up(total, init_lr, ratio):
    for decay_type in SCHEDULES:
        table = rates(total, decay_type, init_lr, init_lr * ratio)
        assert max(table) <= init_lr * (1 + 1e-9)
        assert min(table) >= init_lr * ratio * (1 - 1e-9)
        top = table.index(max(table))
        assert top <= (3 if decay_type == "cos" else 0)
        assert all(a <= b for a, b in pairwise(table[: top + 1]))
        assert all(a >= b * (1 - 1e-9) for a, b in pairwise(table[top:]))


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="cosine"):
        learning_rate(0, 100, 1e-2, 1e-4, "cosine")
