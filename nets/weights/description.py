"""What a weights file holds, wherever it comes from, in this project's layer names."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import keras
import numpy as np

from errors import UserError
from nets.backbones import BACKBONES, find_backbone
from nets.checks import DECODER_NORMS, PRECISIONS, UPSAMPLINGS

# Fields of Description that a network started from a file must share with it.
INHERITED = ("upsampling", "unit_range", "stride_in_3x3")
HEAD, SOFTMAX = "head_conv", "head_softmax"


@dataclass(frozen=True)
class Description:
    """What a network is, as its weights file says.

    Attributes:
        num_classes: int, the background included.
        backbone: str, the encoder's name.
        input_shape: (height, width) that images are letterboxed to in prediction.
        name_classes: one name per class.
        width: int, filters of the first block.
        ignore_labels: mask values that were void in training.
        in_channels: int, channels of an image.
        decoder_norm: as for `nets.unet.Unet`.
        window: (height, width) of the overlapping windows in which images of `input_shape` are
            predicted; None: whole.
        value_range: (low, high) or "percentiles", what of images of more than 8 bits becomes black
            and white; None, as of weights that say nothing: each image is scaled by itself.
        precision: str, Keras' policy of the training; "": not known.
        upsampling, unit_range, stride_in_3x3: as for `nets.unet.Unet`; what weights of
            unet-pytorch and torchvision need.
        versions: the packages that wrote the file.
    """

    num_classes: int
    backbone: str
    input_shape: tuple[int, int]
    name_classes: tuple[str, ...]
    width: int = 64
    ignore_labels: tuple[int, ...] = (255,)
    in_channels: int = 3
    decoder_norm: str = "none"
    window: tuple[int, int] | None = None
    value_range: tuple[float, float] | str | None = None
    precision: str = ""
    upsampling: str = "nearest"
    unit_range: bool = False
    stride_in_3x3: bool = False
    versions: dict[str, str] = field(
        default_factory=lambda: {
            "keras": keras.__version__,
            "backend": keras.config.backend(),
            "h5py": h5py.__version__,
        }
    )

    @property
    def network_shape(self):
        """(height, width) of what the network is given in prediction."""
        return self.window or self.input_shape

    @classmethod
    def from_json(cls, values):
        """The description that `dataclasses.asdict` and JSON made a dict of.

        Raises:
            ValueError, KeyError, TypeError, OverflowError: for what is not a description.
        """
        described = cls(
            num_classes=int(values["num_classes"]),
            backbone=str(values["backbone"]),
            input_shape=tuple(int(side) for side in values["input_shape"]),
            name_classes=tuple(str(name) for name in values["name_classes"]),
            width=int(values["width"]),
            ignore_labels=tuple(int(label) for label in values["ignore_labels"]),
            in_channels=int(values.get("in_channels", 3)),
            decoder_norm=str(values.get("decoder_norm", "none")),
            window=tuple(int(side) for side in values.get("window") or ()) or None,
            value_range=_value_range(values.get("value_range")),
            precision=str(values.get("precision", "")),
            upsampling=str(values.get("upsampling", "nearest")),
            unit_range=bool(values.get("unit_range", False)),
            stride_in_3x3=bool(values.get("stride_in_3x3", False)),
            versions=dict(values["versions"]),
        )
        for name, known in (
            ("backbone", BACKBONES), ("upsampling", UPSAMPLINGS), ("decoder_norm", DECODER_NORMS),
            ("precision", ("", *PRECISIONS[1:])),
        ):  # fmt: skip
            if getattr(described, name) not in known:
                raise ValueError(f"{name} is {getattr(described, name)!r}")
        return described

    def to_json(self):
        """A dict that JSON can hold."""
        return dataclasses.asdict(self)


def _value_range(value):
    if value is None or value == "percentiles":
        return value
    low, high = map(float, value)
    if not low < high:
        raise ValueError(f"value_range is {value!r}")
    return low, high


@dataclass
class Stored:
    """An open weights file.

    Attributes:
        path: the file.
        kind: str, what wrote it, for the user.
        layers: dict from a layer's name to its arrays, in Keras' order and layout.
        description: Description, or None if the file says nothing of itself.
        facts: fields of `Description` that its kind tells, beside its shapes.
        is_pretrained: bool, whether it holds an encoder's ImageNet weights.
    """

    path: Path
    kind: str
    layers: dict[str, list[np.ndarray]]
    description: Description | None = None
    facts: dict = field(default_factory=dict)
    is_pretrained: bool = False

    def refuse_other(self, name, given, held, remedy=""):
        """Raises UserError if what is given, unless None, is not what the file holds."""
        if given is not None and given != held:
            remedy = remedy or f"Leave {name} out to use the file's."
            raise UserError(f"{name} is {given!r}, but {self.path} holds {name} {held!r}. {remedy}")

    def infer(self):
        """Fields of `Description` that the shapes of the layers, or the kind of file, tell.

        Returns:
            dict; without "num_classes" for an encoder alone.

        Raises:
            UserError: if this is another network, or the description says something else.
        """
        backbone = find_backbone(self.layers)
        kernel = self.layers[BACKBONES[backbone].first_layer][0] if backbone else None
        if kernel is None or kernel.ndim != 4:
            names = ", ".join(list(self.layers)[:3])
            raise UserError(
                f"{self.path} holds another network: its layers are {names}, ... Expected this "
                "project's, unet-keras', unet-pytorch's, or the encoder of Keras."
            )
        found = {
            "backbone": backbone,
            "width": kernel.shape[3],
            "in_channels": kernel.shape[2],
        }
        if HEAD in self.layers:
            found["num_classes"] = self.layers[HEAD][0].shape[-1]
            normalization = self.layers.get("decoder1_norm1", ())  # gamma, beta, statistics
            found["decoder_norm"] = {0: "none", 2: "group"}.get(len(normalization), "batch")
        for name, value in found.items():
            said = getattr(self.description, name, value)
            if said != value:
                raise UserError(
                    f"{self.path} is broken: it says {name} {said!r}, but its layers have "
                    f"{value!r}. Train or save it again."
                )
        if self.description:
            return found | {name: getattr(self.description, name) for name in INHERITED}
        return found | self.facts
