"""Networks that are loaded, for the visitors that use the same."""

import threading
from collections import OrderedDict


class Loaded:
    """Keeps the networks that were used last; loads one at a time.

    Args:
        most: int, networks that are kept.
        load: callable of (path, **settings) that loads one; None: `unet.Unet`.
    """

    def __init__(self, most=2, load=None):
        self._most, self._load = most, load or _load
        self._networks, self._lock = OrderedDict(), threading.Lock()

    def get(self, path, **settings):
        """The network of a weights file as it is now: loaded anew after a training wrote it.

        Args:
            path: Path.
            settings: further arguments of `unet.Unet`, all hashable.

        Raises:
            UserError: as `unet.Unet`.
        """
        version = path.stat() if path.is_file() else None  # loading it says that there is none
        key = (path, version and (version.st_mtime_ns, version.st_size), *sorted(settings.items()))
        with self._lock:
            if key not in self._networks:
                while len(self._networks) >= self._most:  # before there is one more in memory
                    self._networks.popitem(last=False)
                self._networks[key] = self._load(path, **settings)
            self._networks.move_to_end(key)
            return self._networks[key]


def _load(path, **settings):
    from unet import Unet

    return Unet(path, **settings)
