"""Numbers that are none, and weights that nothing is learnt with, are found before a training."""

import math

import pytest

from errors import UserError
from train import TrainConfig
from utils.config import load_config
from voc_annotation import AnnotationConfig


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("name", ["init_lr", "time_limit", "jitter", "cls_weights", "scale"])
def test_a_number_that_is_none_is_refused_by_name(name, value):
    text = f"1,1,{value}" if name == "cls_weights" else f"1,{value}" if name == "scale" else value
    with pytest.raises(UserError, match=f"{name} must be a number; got -?(nan|inf)"):
        load_config(TrainConfig, ["--num_classes", "3", f"--{name}={text}"])


@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (1.0, -0.5, 1.0)])
def test_class_weights_that_nothing_is_learnt_with(weights):
    with pytest.raises(UserError, match="cls_weights must be at least 0, and one of them above"):
        TrainConfig(num_classes=3, cls_weights=weights)


@pytest.mark.parametrize("name", ["trainval_percent", "train_percent"])
def test_so_is_one_that_is_given_in_python(name):
    with pytest.raises(UserError, match=f"{name} must be a number; got nan"):
        AnnotationConfig(**{name: math.nan})


def test_a_class_of_weight_0_may_be_meant():
    assert TrainConfig(num_classes=3, cls_weights=(0.0, 1.0, 1.0)).cls_weights == (0.0, 1.0, 1.0)
