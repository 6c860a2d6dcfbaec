"""The paths among the settings of train.py: a visitor's must lie in the served folders."""

import re

from train import TrainConfig
from utils.data.voc import list_path
from webapp.served import Served

_NO_PATHS = ("", "auto", "imagenet")  # that model_path may be
_URL = re.compile(r"https?://", re.IGNORECASE)


def check_paths(config: TrainConfig, served: Served) -> None:
    """Raises UserError for settings of train.py that name a path outside the served folders.

    The lists are looked for in the VOC folder, so that this must be there.
    """
    served.resolve(config.VOCdevkit_path)
    served.resolve(config.save_dir)
    if config.model_path not in _NO_PATHS:
        served.resolve(config.model_path)
    if config.imagenet_url and not _URL.match(config.imagenet_url):
        served.resolve(config.imagenet_url)
    for split in (config.train_list, config.val_list):
        served.resolve(str(list_path(config.VOCdevkit_path, split)))
