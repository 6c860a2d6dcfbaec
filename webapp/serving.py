"""The page on its way to the browser: an address, what may be asked for there, and an end."""

import secrets
import webbrowser
from typing import NamedTuple

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from errors import RunError
from utils.video.process import has_display
from webapp.address import listen
from webapp.guard import Guard
from webapp.streams import Streams

_LOCAL = ("127.0.0.1", "localhost")
_PATIENCE = 3  # seconds that open pages have at the end


class Address(NamedTuple):
    """Where the page is; the fields are named as the settings of app.py."""

    host: str
    port: int
    share: bool = False
    browser: bool = False


def serve(page, address, folder, max_upload_mb, look):
    """Serves a page until a signal ends it.

    Args:
        page: gradio.Blocks, made within `webapp.private.private_files`.
        address: Address.
        folder: Path, of `webapp.private.private_files`.
        max_upload_mb: int, megabytes of a file.
        look: dict, arguments of `gradio.mount_gradio_app` that say what the page looks like.

    Raises:
        UserError: if the address can't be had.
        RunError: if it is to be shared, and that does not work.
    """
    with listen(address.host, address.port) as listening:
        app = make_app(page, address, folder, max_upload_mb, look)
        shown = "127.0.0.1" if address.host in ("0.0.0.0", "::") else address.host
        url = f"http://{f'[{shown}]' if ':' in shown else shown}:{address.port}"
        print(f"The page is at {url}. Ctrl-C ends it.", flush=True)
        if address.share:
            print(
                f"Whoever knows this address can use it: {_share(shown, address.port)}", flush=True
            )
        if address.browser and has_display():
            webbrowser.open(url)
        config = uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=_PATIENCE,
            forwarded_allow_ips="",
        )
        uvicorn.Server(config).run(sockets=[listening])


def make_app(page, address, folder, max_upload_mb, look):
    """The page as an ASGI application; the arguments are those of `serve`."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=max_upload_mb * 2**20,
        ssr_mode=False,  # which would start a server of Node
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        **look,
    )
    # Otherwise Gradio takes the paths in a visitor's requests for the program's own.
    page.has_launched = True
    app.add_middleware(Streams)
    app.add_middleware(Guard, folder=folder)
    if address.host in _LOCAL and not address.share:
        # A name that somebody else's server has lead here must not open this page to its scripts.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(_LOCAL))
    return app


def _share(host, port):
    from gradio.networking import setup_tunnel

    try:
        return setup_tunnel(host, port, secrets.token_urlsafe(32), None, None)
    except Exception as error:  # of the connection, a download, or the program that it starts
        raise RunError(f"Gradio's servers gave no public address: {error}") from error
