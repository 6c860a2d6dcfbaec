"""Untrained networks that find all of their classes, and runs of predict.py on images of a test."""

import keras
import numpy as np

import predict
from nets import unet as networks
from predict import PredictConfig
from utils.images.transforms import normalize
from utils.prediction.export import draw_images


def network_of_three_classes(seed):
    """An untrained network that yet finds all of its three classes in noise."""
    keras.utils.set_random_seed(seed)
    network = networks.Unet((None, None, 3), 3, encoder_initializer="he_normal", width=8)
    noise = np.random.default_rng(seed).uniform(-1, 1, (1, 32, 48, 3)).astype(np.float32)
    head = network.get_layer("head_conv")
    kernel, _ = head.get_weights()
    features = keras.Model(network.input, head.input)
    logits = features.predict_on_batch(noise)[0] @ kernel[0, 0]
    # Centred, so that each class is the largest somewhere.
    head.set_weights([kernel, -np.median(logits, axis=(0, 1))])
    return network


def sharpen(network, size):
    """Has an untrained network be sure of its classes, and name each of them somewhere."""
    head = network.get_layer("head_conv")
    images = normalize(np.stack(draw_images(size)))
    logits = keras.Model(network.inputs, head.output).predict_on_batch(images)
    kernel, bias = head.get_weights()
    mean, spread = logits.mean(axis=(0, 1, 2)), logits.std(axis=(0, 1, 2))
    head.set_weights([kernel * 3 / spread, (bias - mean) * 3 / spread])
    return network


def segment_folder(tmp_path, **settings):
    """Segments the folder `in` into `out`; returns the exit status."""
    config = PredictConfig(
        mode="dir_predict",
        dir_origin_path=str(tmp_path / "in"),
        dir_save_path=str(tmp_path / "out"),
        **settings,
    )
    return predict.main(config)


def single(tmp_path, *names, **settings):
    """Settings for images of the folder `in`, by name."""
    images = tuple(str(tmp_path / "in" / name) for name in names)
    return PredictConfig(image=images, dir_save_path=str(tmp_path / "out"), **settings)


def segment_images(tmp_path, *names, **settings):
    """Segments images of the folder `in`, by name; returns the exit status."""
    return predict.main(single(tmp_path, *names, **settings))
