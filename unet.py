"""Trained weights in; masks and pictures out.

from PIL import Image
from unet import Unet

unet = Unet("logs/best_miou_weights.weights.h5")
unet.detect_image(Image.open("img/street.jpg")).save("street.png")
"""

import time

from PIL import Image

from errors import UserError
from nets import unet as networks
from nets.checks import check_input_shape, check_num_classes
from nets.precision import choose_precision, dtype_policy
from nets.weights import Description, load_weights, read_description
from utils.draw import check_mix_type, draw_mask, format_count
from utils.image import to_rgb_array
from utils.inference import predict_mask
from utils.voc import class_names, mask_to_image, voc_palette


class Unet:
    """A trained network, ready to segment pictures.

    What the weights file says of itself need not be said again; an argument that
    contradicts it is refused. A plain Keras file, which says nothing, needs `num_classes`,
    `backbone` and `input_shape`.

    Args:
        model_path: str or Path of a `.weights.h5` file.
        num_classes: int, or None: as the file says.
        backbone: str, or None: as the file says.
        input_shape: (height, width) that pictures are letterboxed to, or None: as the file
            says.
        mix_type: what `detect_image` returns. 0: the mask's colours blended over the
            picture; 1: the colours alone; 2: the picture with a black background.
        precision: "auto", "float32", "mixed_bfloat16" or "mixed_float16".
        name_classes: one name a class, or None: as the file says.

    Attributes:
        model: keras.Model from (B, height, width, 3) in [-1, 1] to probabilities.
        description: `nets.weights.Description` of what is loaded.

    Raises:
        UserError: for a file that is missing or no weights file, and for arguments that are
            missing, contradict it or make no sense.
    """

    def __init__(
        self,
        model_path="logs/best_epoch_weights.weights.h5",
        num_classes=None,
        backbone=None,
        input_shape=None,
        mix_type=0,
        precision="auto",
        name_classes=None,
    ):
        check_mix_type(mix_type)
        self.mix_type = mix_type
        self.description = resolve_description(
            model_path, num_classes, backbone, input_shape, name_classes
        )
        policy, self.precision_reason = choose_precision(precision)
        described = self.description
        with dtype_policy(policy):
            self.model = networks.Unet(
                (*described.input_shape, 3),
                described.num_classes,
                described.backbone,
                width=described.width,
            )
        load_weights(self.model, model_path)
        self.colors = voc_palette(256)

    def predict_array(self, image):
        """Segments uint8 (H, W, 3) RGB; returns uint8 (H, W), class ids."""
        return predict_mask(self.model.predict_on_batch, image, self.description.input_shape)

    def detect_image(self, image, count=False, name_classes=None):
        """Segments a picture and draws the result.

        Args:
            image: PIL.Image of any size and mode; turned upright by its EXIF.
            count: bool. Prints a table of pixels and share per class.
            name_classes: names for the table; None: those of the weights file.

        Returns:
            PIL.Image, RGB, of the (upright) picture's size.
        """
        pixels = to_rgb_array(image)
        mask = self.predict_array(pixels)
        if count:
            names = name_classes or self.description.name_classes
            print(format_count(mask, class_names(self.description.num_classes, names)))
        return Image.fromarray(draw_mask(pixels, mask, self.colors, self.mix_type))

    def get_miou_png(self, image):
        """Segments a PIL picture; returns its class ids as a palette picture of its size."""
        return mask_to_image(self.predict_array(to_rgb_array(image)))

    def get_FPS(self, image, test_interval):
        """Times the way from pixels to class ids, after a warm-up.

        Args:
            image: PIL.Image.
            test_interval: int, how many times.

        Returns:
            float, seconds a picture.

        Raises:
            UserError: if test_interval is below 1.
        """
        if test_interval < 1:
            raise UserError(f"test_interval must be at least 1; got {test_interval}.")
        pixels = to_rgb_array(image)
        self.predict_array(pixels)
        start = time.perf_counter()
        for _ in range(test_interval):
            self.predict_array(pixels)
        return (time.perf_counter() - start) / test_interval


def resolve_description(model_path, num_classes, backbone, input_shape, name_classes):
    """Joins what a weights file says of itself with what the caller says.

    Returns:
        Description.

    Raises:
        UserError: if they contradict each other, or neither says what is needed.
    """
    given = {
        "num_classes": num_classes,
        "backbone": backbone,
        "input_shape": tuple(input_shape[:2]) if input_shape else None,
        "name_classes": tuple(name_classes) if name_classes else None,
    }
    described = read_description(model_path)
    if described is None:
        missing = [name for name in ("num_classes", "backbone", "input_shape") if not given[name]]
        if missing:
            raise UserError(
                f"{model_path} does not say what it holds (a plain Keras file). "
                f"Give {', '.join(missing)} as well."
            )
        check_num_classes(num_classes)
        given["name_classes"] = class_names(num_classes, given["name_classes"])
        described = Description(**given)
    for name, value in given.items():
        if value is not None and value != getattr(described, name):
            raise UserError(
                f"{name} is {value!r}, but {model_path} holds {name} "
                f"{getattr(described, name)!r}. Leave {name} out to use the file's."
            )
    check_input_shape(described.input_shape, described.backbone)
    return described
