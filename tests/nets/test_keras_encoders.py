"""The encoders of Keras: what the decoder takes of them, and that each works as the others do."""

import difflib
import re

import keras
import numpy as np
import pytest

from errors import UserError
from nets.backbones import BACKBONES
from nets.checks import check_backbone, check_decoder_width
from nets.encoders import catalogue
from nets.encoders.keras_encoder import KerasEncoder
from nets.encoders.keras_graph import SIDE, find_features, find_misfit, open_application, trace
from nets.unet import Unet, set_encoder_trainable

OF_KERAS = {name: one.application for name, one in BACKBONES.items() if one.application}
# Of each family one, of those that are built in a second or so.
QUICK = ("vgg19", "mobilenet", "mobilenetv2", "mobilenetv3small")
SLOW = pytest.mark.slow
