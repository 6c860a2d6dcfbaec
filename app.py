"""A page in the browser: python app.py

Predict, check data, train, and look at evaluations, without typing a path. For this machine alone
unless --host says otherwise.

A service for programs: python app.py --api --port 8000
"""

from pathlib import Path

from errors import UserError, check_at_least
from utils.config import load_config, run_script, settings
from utils.images.channels import MAX_PIXELS
from utils.prediction.ensemble import Paths


@settings
class AppConfig:
    # Where it is
    host: str = "127.0.0.1"  # address it listens on; 0.0.0.0: all, so that others can open it
    port: int = 7860  # of that address
    share: bool = False  # whether Gradio's servers give it a public address for some days
    browser: bool = True  # whether to open it in the browser

    # What it shows
    folders: tuple[str, ...] = ("VOCdevkit", "logs", "model_data", "miou_out")  # nothing outside
    max_pixels: int = MAX_PIXELS  # images of more are refused
    max_upload_mb: int = 1024  # megabytes; larger files are refused

    # Service
    api: bool = False  # a service for programs instead of the page
    model_path: Paths = "logs/best_epoch_weights.weights.h5"  # its weights; of several the mean
    batch_size: int = 4  # images the network takes at a time
    queue_size: int = 64  # requests at a time, waiting or not; more are refused (429)
    max_wait: float = 60.0  # seconds to send an image, and to wait for the network (408, 503)
    max_body_mb: int = 64  # megabytes of a request; larger ones are refused (413)
    api_max_pixels: int = 50_000_000  # images of more are refused (400)

    def check(self):
        """Raises UserError for values that make no sense."""
        check_at_least(self, 1, "port", "max_pixels", "max_upload_mb")
        check_at_least(self, 1, "batch_size", "queue_size", "max_body_mb", "api_max_pixels")
        if self.port > 65535:
            raise UserError(f"port must be at most 65535; got {self.port}.")
        if self.max_wait <= 0:
            raise UserError(f"max_wait must be above 0 seconds; got {self.max_wait}.")


def main(config=None):
    """Serves until it is stopped; `config` is an AppConfig, or None to read the command line."""
    config = config or load_config(AppConfig)
    if config.api:
        return serve_api(config)
    from webapp.private import private_files

    with private_files() as folder:
        serve_page(config, folder)


def serve_page(config, folder):
    """Serves the page; `folder` is that of visitors' files, of `webapp.private`."""
    try:
        from webapp.page import LOOK, build_page
        from webapp.serving import Address, serve
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise UserError(
            "The page needs Gradio, which is not installed: pip install -r requirements-app.txt"
        ) from None
    from webapp.served import Served

    served = Served(tuple(map(Path, config.folders)), config.max_pixels)
    address = Address(config.host, config.port, config.share, config.browser)
    serve(build_page(served), address, folder, config.max_upload_mb, LOOK)


def serve_api(config):
    """Serves programs until it is stopped."""
    try:
        from webapp.service import serve
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn"):
            raise
        raise UserError(
            f"The service needs {error.name}, which is not installed: "
            "pip install -r requirements-service.txt"
        ) from None
    return serve(config)


if __name__ == "__main__":
    run_script(main)
