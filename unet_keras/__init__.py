"""Semantic segmentation with U-Nets: trained weights in, masks and images out.

    from unet_keras import Unet

    unet = Unet("logs/best_epoch_weights.weights.h5")
    street = unet.predict("street.jpg")
    street.draw(legend=True).show()

Keras, and TensorFlow with it, is imported when weights are loaded. Messages go to the logger
"unet_keras". This is what `pip install .` installs, with the scripts as commands of `unet-keras`.
"""

from errors import RunError, UserError
from unet import Unet
from utils.prediction.inputs import ImageLike
from utils.prediction.regions import Region
from utils.prediction.result import Polygon, Prediction

__all__ = ["ImageLike", "Polygon", "Prediction", "Region", "RunError", "Unet", "UserError"]
