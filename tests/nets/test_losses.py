from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nets.losses import CE, Focal_Loss, dice_loss_with_CE, dice_loss_with_Focal_Loss

EPSILON = 1e-7  # Keras' default, the eps of the formulas
LN2 = np.log(2)


# The oracle: the article's formulas in float64, over the valid pixels alone.


def oracle(
    ids, y_pred, *, focal=False, dice=False, weights=None, alpha=0.5, gamma=2, beta=1,
    present=False, border=0.0,
):  # fmt: skip
    num_classes = y_pred.shape[-1]
    ids = np.asarray(ids, np.int64).ravel()
    p = np.asarray(y_pred, np.float64).reshape(-1, num_classes)
    border = np.broadcast_to(border, np.shape(y_pred)[:-1]).astype(np.float64).ravel()
    keep = (ids >= 0) & (ids < num_classes)
    border = border[keep]
    ids, p = ids[keep], np.clip(p[keep], EPSILON, 1 - EPSILON)
    if not len(ids):
        return 0.0
    weights = np.ones(num_classes) if weights is None else np.asarray(weights, np.float64)
    log_p = np.log(p[np.arange(len(ids)), ids])
    losses = (weights[ids] + border) * -log_p
    if focal:
        pt = np.exp(weights[ids] * log_p)
        losses = (1 if alpha is None else alpha) * (1 - pt) ** gamma * losses
    loss = np.mean(losses)
    return loss + (oracle_dice(ids, p, beta, present) if dice else 0)


def oracle_dice(ids, p, beta, present, smooth=1e-5):
    scores = []
    for c in np.unique(ids) if present else range(p.shape[-1]):
        y_c, p_c = (ids == c).astype(np.float64), p[:, c]
        tp = np.sum(y_c * p_c)
        fp, fn = np.sum(p_c) - tp, np.sum(y_c) - tp
        top = (1 + beta**2) * tp + smooth
        scores.append(top / (top + beta**2 * fn + fp))
    return 1 - np.mean(scores)


# name: (factory, the oracle's options for it)
LOSSES = {
    "CE": (CE, {}),
    "focal": (Focal_Loss, {"focal": True}),
    "dice + CE": (dice_loss_with_CE, {"dice": True}),
    "dice + focal": (dice_loss_with_Focal_Loss, {"focal": True, "dice": True}),
    "dice of present + CE": (
        partial(dice_loss_with_CE, dice_present_only=True),
        {"dice": True, "present": True},
    ),
    "dice of present + focal": (
        partial(dice_loss_with_Focal_Loss, dice_present_only=True),
        {"focal": True, "dice": True, "present": True},
    ),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (exponentials / exponentials.sum(axis=-1, keepdims=True)).astype(np.float32)


def batch(num_classes=3, shape=(2, 5, 7), void=0.3, seed=0):
    """Class ids (B, H, W) with a share of void pixels, and probabilities (B, H, W, C)."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, num_classes, shape).astype(np.uint8)
    ids[rng.random(shape) < void] = 255
    return ids, softmax(rng.normal(size=(*shape, num_classes)))


def one_hot(ids, num_classes):
    """(B, H, W, C + 1) float32; the last channel is void."""
    ids = np.where(np.asarray(ids) < num_classes, ids, num_classes)
    return np.eye(num_classes + 1, dtype=np.float32)[ids]


def as_ids(ids, num_classes):
    return ids


every_encoding = pytest.mark.parametrize("encode", [as_ids, one_hot])


def value(loss, y_true, y_pred):
    return float(loss(tf.constant(y_true), tf.constant(y_pred)))


def value_and_gradient(loss, y_true, y_pred):
    y_pred = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        result = loss(tf.constant(y_true), y_pred)
    return float(result), tape.gradient(result, y_pred).numpy()


def pixels(*probabilities):
    """An image of one row, (1, 1, W, C)."""
    return np.array([[probabilities]], np.float32)


def row(*ids):
    """A mask of one row, (1, 1, W)."""
    return np.array([[ids]], np.uint8)


# By hand. Two pixels, true classes 0 and 1, with the true classes' p = 1/2 and 1/4.
HAND_IDS = row(0, 1)
HAND_P = pixels((0.5, 0.5), (0.75, 0.25))
# class 0: tp 0.5, fp 1.25 - 0.5 = 0.75, fn 0.5; F = 1.0 / (1.0 + 0.5 + 0.75) = 4/9
# class 1: tp 0.25, fp 0.75 - 0.25 = 0.5, fn 0.75; F = 0.5 / (0.5 + 0.75 + 0.5) = 2/7
HAND_DICE = 1 - (4 / 9 + 2 / 7) / 2


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (CE(), (LN2 + 2 * LN2) / 2),
        (CE(cls_weights=[1, 3]), (LN2 + 3 * 2 * LN2) / 2),
        (CE(cls_weights=np.array([0.0, 1.0])), (0 + 2 * LN2) / 2),
        (Focal_Loss(), (0.5 * 0.5**2 * LN2 + 0.5 * 0.75**2 * 2 * LN2) / 2),
        (Focal_Loss(alpha=0.25, gamma=1), (0.25 * 0.5 * LN2 + 0.25 * 0.75 * 2 * LN2) / 2),
        (Focal_Loss(alpha=None), (0.5**2 * LN2 + 0.75**2 * 2 * LN2) / 2),
        (Focal_Loss(alpha=None, gamma=0), (LN2 + 2 * LN2) / 2),
        # Weight 2 squares pt: 1/2 becomes 1/4, 1/4 becomes 1/16.
        (
            Focal_Loss(cls_weights=[2, 2], alpha=None),
            ((3 / 4) ** 2 * 2 * LN2 + (15 / 16) ** 2 * 4 * LN2) / 2,
        ),
        (dice_loss_with_CE(), 1.5 * LN2 + HAND_DICE),
        # Class weights are for CE only: (0 + 2 ln 2) / 2, and the same Dice loss.
        (dice_loss_with_CE(cls_weights=[0, 1]), LN2 + HAND_DICE),
        # b = 2: F = 2.5 / (2.5 + 4 * 0.5 + 0.75) and 1.25 / (1.25 + 4 * 0.75 + 0.5)
        (dice_loss_with_CE(beta=2), 1.5 * LN2 + 1 - (2.5 / 5.25 + 1.25 / 4.75) / 2),
        # s = 1: F = (1 + 1) / (2.25 + 1) and (0.5 + 1) / (1.75 + 1)
        (dice_loss_with_CE(smooth=1), 1.5 * LN2 + 1 - (2 / 3.25 + 1.5 / 2.75) / 2),
        (dice_loss_with_Focal_Loss(alpha=None, gamma=0), 1.5 * LN2 + HAND_DICE),
        (dice_loss_with_Focal_Loss(alpha=None, gamma=1), (0.5 + 1.5) / 2 * LN2 + HAND_DICE),
        (
            dice_loss_with_Focal_Loss(cls_weights=[0, 1], beta=2, smooth=1, alpha=1, gamma=0),
            LN2 + 1 - (3.5 / 6.25 + 2.25 / 5.75) / 2,
        ),
    ],
)
def test_two_pixels_by_hand(loss, expected):
    assert value(loss, HAND_IDS, HAND_P) == pytest.approx(expected, rel=1e-4)


def test_void_pixels_leave_the_denominator():
    # Three of four pixels are void: the mean is over one pixel, -ln(1/2).
    p = pixels((0.5, 0.5), (0.9, 0.1), (0.2, 0.8), (0.6, 0.4))
    assert value(CE(), row(0, 255, 255, 255), p) == pytest.approx(LN2)


def test_probabilities_are_clipped():
    # A sure and wrong prediction: -ln(1e-7) = 16.118
    assert value(CE(), row(0), pixels((0, 1))) == pytest.approx(16.118, abs=1e-3)


@pytest.mark.parametrize(
    ("present", "only", "expected"),
    [
        (21, False, 0.0),
        (21, True, 0.0),
        # 1 - 3/21: in a big image even eps a pixel outweighs s, and an absent class scores
        # 1e-5 / (512 * 512 * 1e-7 + 1e-5) = 0.0004.
        (3, False, 0.857),
        (3, True, 0.0),
    ],
)
def test_dice_loss_of_a_perfect_prediction(present, only, expected):
    ids = (np.arange(512 * 512) % present).reshape(1, 512, 512).astype(np.uint8)
    p = np.eye(21, dtype=np.float32)[ids]
    dice = value(dice_loss_with_CE(dice_present_only=only), ids, p) - value(CE(), ids, p)
    assert dice == pytest.approx(expected, abs=5e-4)


@every_encoding
def test_dice_of_the_present_classes_by_hand(encode):
    # Class 2 is in no pixel of the truth but the void one: its mean leaves it out.
    # class 0: tp 0.5, fp 0.5, fn 0.5; F = 1 / (1 + 0.5 + 0.5) = 1/2
    # class 1: tp 0.25, fp 0.25, fn 0.75; F = 0.5 / (0.5 + 0.75 + 0.25) = 1/3
    ids, p = row(0, 1, 255), pixels((0.5, 0.25, 0.25), (0.5, 0.25, 0.25), (0, 0, 1))
    loss = dice_loss_with_CE(dice_present_only=True)
    result, gradient = value_and_gradient(loss, encode(ids, 3), p)
    assert result == pytest.approx(1.5 * LN2 + 1 - (1 / 2 + 1 / 3) / 2, rel=1e-4)
    # By the others' fp alone would class 2 count, so its probabilities have no gradient.
    np.testing.assert_array_equal(gradient[..., 2], 0)
    assert np.all(gradient[0, 0, :2, :2] != 0)


# Against the oracle


@every_loss
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0]])
@pytest.mark.parametrize("void", [0, 0.3])
def test_agrees_with_the_oracle(name, weights, void):
    factory, options = LOSSES[name]
    ids, p = batch(void=void)
    expected = oracle(ids, p, weights=weights, **options)
    assert value(factory(cls_weights=weights), ids, p) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0, 0.5, 2, 5])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_agrees_with_the_oracle(gamma, alpha):
    ids, p = batch(seed=1)
    expected = oracle(ids, p, focal=True, alpha=alpha, gamma=gamma)
    assert value(Focal_Loss(alpha=alpha, gamma=gamma), ids, p) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("num_classes", [2, 21, 255])
def test_agrees_with_the_oracle_at_other_class_counts(num_classes):
    ids, p = batch(num_classes)
    expected = oracle(ids, p, dice=True)
    assert value(dice_loss_with_CE(), ids, p) == pytest.approx(expected, rel=1e-5)


@st.composite
def batches(draw):
    num_classes = draw(st.integers(2, 5))
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=4))
    label = st.integers(0, num_classes - 1) | st.just(255)
    ids = draw(hnp.arrays(np.uint8, shape, elements=label))
    # Logits to 30: sure and wrong predictions, where the clipping acts, are among them.
    logits = draw(hnp.arrays(np.float32, (*shape, num_classes), elements=st.integers(-30, 30)))
    return ids, softmax(logits)


@every_loss
@settings(max_examples=30, deadline=None)
@given(data=batches())
def test_any_batch_agrees_with_the_oracle(name, data):
    factory, options = LOSSES[name]
    # float32 can't hold 1 - 1e-7 (it takes 1 - 1.19e-7), so tiny losses differ a little.
    assert value(factory(), *data) == pytest.approx(oracle(*data, **options), rel=1e-4, abs=1e-6)


# Border weights


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        # Over two pixels, not over the weights' sum of 5.
        (CE(), ((1 + 3) * LN2 + 2 * LN2) / 2),
        (CE(cls_weights=[2, 3]), ((2 + 3) * LN2 + 3 * 2 * LN2) / 2),
        (CE(cls_weights=[0, 1]), (3 * LN2 + 2 * LN2) / 2),
        (Focal_Loss(alpha=None), (0.5**2 * 4 * LN2 + 0.75**2 * 2 * LN2) / 2),
        # Weight 2 squares pt, the border does not.
        (
            Focal_Loss(cls_weights=[2, 2], alpha=None),
            ((3 / 4) ** 2 * (2 + 3) * LN2 + (15 / 16) ** 2 * 4 * LN2) / 2,
        ),
        (dice_loss_with_CE(), (4 * LN2 + 2 * LN2) / 2 + HAND_DICE),
    ],
)
def test_border_weights_by_hand(loss, expected):
    border = tf.constant([[[3.0, 0.0]]])
    found = float(loss(tf.constant(HAND_IDS), tf.constant(HAND_P), border))
    assert found == pytest.approx(expected, rel=1e-5)


@every_loss
@every_encoding
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0]])
def test_border_weights_agree_with_the_oracle(name, encode, weights):
    factory, options = LOSSES[name]
    ids, p = batch()
    border = np.random.default_rng(5).uniform(0, 10, ids.shape).astype(np.float32)
    loss = factory(cls_weights=weights)
    found = value(partial(loss, border=border), encode(ids, 3), p)
    expected = oracle(ids, p, weights=weights, border=border, **options)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found > value(loss, ids, p)


@every_loss
def test_borders_of_void_pixels_move_nothing(name):
    ids, p = batch()
    loss = LOSSES[name][0]()
    border = np.where(ids == 255, 10, 0).astype(np.float32)
    expected, expected_gradient = value_and_gradient(loss, ids, p)
    found, gradient = value_and_gradient(partial(loss, border=border), ids, p)
    assert found == expected
    np.testing.assert_array_equal(gradient, expected_gradient)


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 7, 1)])
def test_border_weights_of_another_shape_are_refused(shape):
    ids, p = batch()
    with pytest.raises(ValueError, match=r"border must be weights \(B, H, W\); got shape \(2, 5"):
        CE()(ids, p, np.zeros(shape, np.float32))


# Ids and one-hot


@every_loss
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0]])
def test_ids_and_one_hot_give_equal_results(name, weights):
    loss = LOSSES[name][0](cls_weights=weights)
    ids, p = batch()
    from_ids, gradient_from_ids = value_and_gradient(loss, ids, p)
    from_one_hot, gradient_from_one_hot = value_and_gradient(loss, one_hot(ids, 3), p)
    assert from_ids == from_one_hot
    np.testing.assert_array_equal(gradient_from_ids, gradient_from_one_hot)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_ids_of_any_dtype(dtype):
    ids, p = batch()
    expected = oracle(ids, p, dice=True)
    assert value(dice_loss_with_CE(), ids.astype(dtype), p) == pytest.approx(expected, rel=1e-5)


@every_loss
@pytest.mark.parametrize("label", [-1, 3, 254, 255])
def test_any_id_outside_the_classes_is_void(name, label):
    factory, options = LOSSES[name]
    ids, p = batch()
    relabelled = np.where(ids == 255, label, ids.astype(np.int32))
    assert value(factory(), relabelled, p) == pytest.approx(oracle(ids, p, **options), rel=1e-5)


# Void


@every_loss
@settings(max_examples=30, deadline=None)
@given(data=batches(), seed=st.integers(0, 2**32 - 1))
def test_predictions_at_void_pixels_move_nothing(name, data, seed):
    ids, p = data
    loss = LOSSES[name][0]()
    other = softmax(np.random.default_rng(seed).normal(scale=10, size=p.shape))
    changed = np.where((ids == 255)[..., None], other, p)
    before, gradient_before = value_and_gradient(loss, ids, p)
    after, gradient_after = value_and_gradient(loss, ids, changed)
    assert before == after
    np.testing.assert_array_equal(gradient_before, gradient_after)


@every_loss
@every_encoding
def test_gradient_is_zero_at_void_pixels_and_only_there(name, encode):
    ids, p = batch()
    gradient = value_and_gradient(LOSSES[name][0](), encode(ids, 3), p)[1]
    assert np.all(gradient[ids == 255] == 0)
    assert np.all(np.abs(gradient[ids != 255]).max(axis=-1) > 0)


@every_loss
def test_void_pixels_count_as_if_cut_off(name):
    loss = LOSSES[name][0]()
    ids, p = batch()
    keep = ids != 255
    with_void, gradient_with_void = value_and_gradient(loss, ids, p)
    cut, gradient_cut = value_and_gradient(loss, ids[keep][None, None], p[keep][None, None])
    assert with_void == pytest.approx(cut, rel=1e-6)
    np.testing.assert_allclose(gradient_with_void[keep], gradient_cut[0, 0], rtol=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        CE(),
        CE(cls_weights=[1, 2, 0]),
        Focal_Loss(gamma=0),
        Focal_Loss(gamma=0.5),
        Focal_Loss(gamma=2),
        dice_loss_with_CE(),
        dice_loss_with_Focal_Loss(gamma=0.5),
        dice_loss_with_CE(dice_present_only=True),
        dice_loss_with_Focal_Loss(dice_present_only=True),
    ],
)
@every_encoding
def test_nothing_but_void_gives_zero(loss, encode):
    p = batch()[1]
    ids = np.full(p.shape[:-1], 255, np.uint8)
    result, gradient = value_and_gradient(loss, encode(ids, 3), p)
    assert result == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("gamma", [0, 0.5, 2])
@pytest.mark.parametrize("weights", [None, [0.0, 1.0, 1.0]])
def test_focal_gradients_are_finite_where_pt_is_one(gamma, weights):
    # Void pixels, sure and right ones, sure and wrong ones, and a class of weight 0.
    ids = row(255, 0, 1, 2, 0, 1)
    p = pixels((1, 0, 0), (1, 0, 0), (0, 1, 0), (1, 0, 0), (0.2, 0.3, 0.5), (0.2, 0.3, 0.5))
    loss = Focal_Loss(cls_weights=weights, gamma=gamma)
    result, gradient = value_and_gradient(loss, ids, p)
    expected = oracle(ids, p, focal=True, gamma=gamma, weights=weights)
    assert result == pytest.approx(expected, rel=1e-5)
    assert np.all(np.isfinite(gradient))
    # More probability for the last pixel's true class must lower the loss.
    assert gradient[0, 0, 5, 1] < 0


@every_loss
def test_gradient_agrees_with_the_oracle(name):
    factory, options = LOSSES[name]
    ids, p = batch(shape=(1, 2, 3), seed=2)
    gradient = value_and_gradient(factory(), ids, p)[1]
    step = 1e-5  # central differences in float64
    for index in np.ndindex(p.shape):
        nudge = np.zeros(p.shape)
        nudge[index] = step
        above, below = oracle(ids, p + nudge, **options), oracle(ids, p - nudge, **options)
        assert gradient[index] == pytest.approx((above - below) / (2 * step), rel=1e-3, abs=1e-6)


# In a training


def tiny_network(num_classes=3, policy="float32"):
    return keras.Sequential(
        [
            keras.Input((4, 6, 3)),
            keras.layers.Conv2D(num_classes, 3, padding="same", dtype=policy),
            keras.layers.Softmax(dtype="float32"),
        ]
    )


@every_loss
@every_encoding
def test_trains_through_compile(name, encode):
    factory, options = LOSSES[name]
    model = tiny_network()
    model.compile(keras.optimizers.SGD(0.5), factory(cls_weights=[1.0, 2.0, 0.5]))
    images = np.random.default_rng(1).normal(size=(2, 4, 6, 3)).astype(np.float32)
    ids, _ = batch(shape=(2, 4, 6))
    assert ids.dtype == np.uint8
    start = oracle(ids, model.predict(images, verbose=0), weights=[1.0, 2.0, 0.5], **options)
    first = model.train_on_batch(images, encode(ids, 3))
    assert first == pytest.approx(start, rel=1e-4)
    for _ in range(5):
        last = model.train_on_batch(images, encode(ids, 3))
    assert last < first


def test_two_classes_train_through_compile():
    # Keras squeezes and expands last axes of length 1; (B, H, W) masks must stay as they are.
    model = tiny_network(num_classes=2)
    model.compile("sgd", dice_loss_with_CE())
    images = np.random.default_rng(1).normal(size=(1, 4, 6, 3)).astype(np.float32)
    ids, _ = batch(num_classes=2, shape=(1, 4, 6))
    start = oracle(ids, model.predict(images, verbose=0), dice=True)
    assert model.train_on_batch(images, ids) == pytest.approx(start, rel=1e-4)


def test_a_void_batch_changes_no_weight():
    model = tiny_network()
    model.compile("adam", dice_loss_with_Focal_Loss(gamma=0.5))
    before = model.get_weights()
    assert model.train_on_batch(np.ones((2, 4, 6, 3)), np.full((2, 4, 6), 255, np.uint8)) == 0
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_low_precision_predictions_are_scored_in_float32():
    ids, p = batch()
    low = tf.cast(p, "bfloat16")
    result = dice_loss_with_CE()(tf.constant(ids), low)
    assert result.dtype == tf.float32
    expected = oracle(ids, tf.cast(low, "float32").numpy(), dice=True)
    assert float(result) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (2, 5, 7, 1), (2, 35)])
def test_targets_of_another_shape_are_refused(shape):
    _, y_pred = batch()
    with pytest.raises(ValueError, match=r"y_true must be class ids \(B, H, W\) or one-hot"):
        CE()(np.zeros(shape, np.float32), y_pred)


def test_class_weights_must_be_one_a_class():
    ids, y_pred = batch()
    with pytest.raises(ValueError, match="cls_weights must hold 3 numbers, one per class; got 1"):
        CE(cls_weights=[2.0])(ids, y_pred)


@every_loss
@pytest.mark.parametrize("first", [1, 3])  # images of the first device, of four in all
def test_devices_that_see_a_part_each_have_the_loss_of_the_whole(name, first):
    factory, expected = LOSSES[name]
    ids, y_pred = batch(shape=(4, 5, 7))
    ids[:first] = np.where(ids[:first] == 0, 255, ids[:first])  # unequal shares of void
    sums = []

    def keep(values, axis=None):
        sums.append(keras.ops.sum(values, axis))
        return sums[-1]

    value(factory(total=keep), ids[:first], y_pred[:first])
    of_first = iter(sums)

    def add(values, axis=None):
        return keras.ops.sum(values, axis) + next(of_first)

    found = value(factory(total=add), ids[first:], y_pred[first:])
    assert found == pytest.approx(oracle(ids, y_pred, **expected), rel=1e-5)
    assert not list(of_first)


@every_encoding
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0]])
@every_loss
def test_from_logits_it_is_the_same_formula(name, weights, encode):
    """To 1e-6 where no probability is clipped; relative, as float32 has it, for the gradient."""
    factory, _ = LOSSES[name]
    ids, _ = batch()
    logits = np.random.default_rng(3).normal(0, 2, (*ids.shape, 3)).astype(np.float32)
    y_true = encode(ids, 3)
    with_softmax = factory(weights)

    def of_probabilities(y_true, logits):
        return with_softmax(y_true, tf.nn.softmax(logits))

    expected, expected_gradient = value_and_gradient(of_probabilities, y_true, logits)
    found, gradient = value_and_gradient(factory(weights, from_logits=True), y_true, logits)
    assert found == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-7)


@every_loss
def test_the_wrongest_pixels_keep_their_gradient_from_logits(name):
    """p = exp(-50) of the true class is clipped to 1e-7, whose gradient is 0."""
    factory, _ = LOSSES[name]
    logits = np.array([[[[0.0, 50.0, 0.0], [3.0, 0.0, 0.0]]]], np.float32)
    ids = row(0, 0)
    with_softmax = factory()
    _, clipped = value_and_gradient(
        lambda y_true, y_pred: with_softmax(y_true, tf.nn.softmax(y_pred)), ids, logits
    )
    loss, gradient = value_and_gradient(factory(from_logits=True), ids, logits)
    assert np.abs(clipped[0, 0, 0, 0]) < 1e-6
    # Each of the two pixels has half of the mean; alpha is 0.5 in focal loss.
    share = 0.25 if "focal" in name else 0.5
    assert gradient[0, 0, 0, 0] == pytest.approx(-share, abs=1e-3)
    assert loss > 50 * share


@pytest.mark.parametrize("gamma", [0, 0.5, 2])
def test_logits_of_any_size_give_finite_gradients(gamma):
    logits = np.array([[[[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 0.0, 0.0]]]], np.float32)
    for factory in (dice_loss_with_CE, partial(dice_loss_with_Focal_Loss, gamma=gamma)):
        loss, gradient = value_and_gradient(factory(from_logits=True), row(0, 0, 255), logits)
        assert np.isfinite(loss) and np.isfinite(gradient).all()
        assert not gradient[0, 0, 2].any()
