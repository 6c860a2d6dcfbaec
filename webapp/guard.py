"""Which of Gradio's addresses are open: those that the page itself uses."""

import json
import os
import re

from starlette.responses import PlainTextResponse

_OPEN = re.compile(
    r"/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)?/?"
    r"|/(assets|static|svelte)/.*"
    r"|/gradio_api/(queue/data|upload|upload_progress|startup-events|cancel|reset|app_id"
    r"|login_check)/?"
    r"|/gradio_api/heartbeat/\w+"
)
_FILE = "/gradio_api/file="
_EVENT = re.compile(r"/gradio_api/queue/join/?")
_MOST = 2**24  # bytes of the values of all fields; files go another way


class Guard:
    """Middleware that refuses all that the page does not ask for.

    Gradio also has addresses by which it fetches from other servers, tells of its use, and calls
    functions without a page. It serves examples that were stored in the working folder. And it
    downloads a file for an event whose path is an address.

    Args:
        app: the ASGI application behind it.
        folder: Path. Files are served of no other.
    """

    def __init__(self, app, folder):
        self._app, self._folder = app, folder

    async def __call__(self, scope, receive, send):
        """Answers a request, or hands it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _EVENT.fullmatch(scope["path"]):
            body = await _read(receive)
            if body is None or not _is_harmless(body):
                await PlainTextResponse("No such event.", status_code=400)(scope, receive, send)
            else:
                await self._app(scope, _again(body, receive), send)
        elif self._is_open(scope["path"]):
            await self._app(scope, receive, send)
        else:
            refused = PlainTextResponse("This is not served here.", status_code=403)
            await refused(scope, receive, send)

    def _is_open(self, path):
        if path.startswith(_FILE):
            asked = os.path.realpath(path.removeprefix(_FILE))
            return asked.startswith(f"{self._folder}{os.sep}")
        return _OPEN.fullmatch(path) is not None


async def _read(receive):
    """The body of a request; None if it is too large, or the client is gone."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _MOST:
            return None
    return body


def _again(body, receive):
    """A `receive` that gives a body that was read already, and then what comes."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again():
        return messages.pop() if messages else await receive()

    return receive_again


def _is_harmless(body):
    """Whether JSON names no file by an address."""
    try:
        return not any(_is_address(path) for path in _paths(json.loads(body)))
    except (ValueError, RecursionError):
        return False


def _paths(value):
    """Yields whatever stands under "path" in JSON."""
    if isinstance(value, dict):
        if "path" in value:
            yield value["path"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _paths(one)


def _is_address(path):
    return isinstance(path, str) and re.match(r"\s*[a-zA-Z][a-zA-Z+.-]+:", path) is not None
