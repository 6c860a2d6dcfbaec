"""Everything around the network: settings, data, prediction, evaluation, images."""

try:
    import cv2  # noqa: F401
except ImportError as error:
    # Most often libGL.so.1 or libglib on a server. Said here, since every script imports this
    # package before it can run anything.
    raise ImportError(
        f"OpenCV can't be loaded: {error}\nInstall it with pip install -r requirements.txt. On "
        "a server without a desktop take its other build: pip uninstall opencv-python; "
        "pip install opencv-python-headless"
    ) from None
