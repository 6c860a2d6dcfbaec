"""No click is lost: an event is answered when its page knows whether the stream is still open.

A page hears of its events by one stream. When none is under way, the stream ends with a message.
While that message is on its way, Gradio's script takes the stream for open, and would wait there
for the event that it asks for meanwhile, forever.
"""

import asyncio
import json
import re
from urllib.parse import parse_qs

_STREAM = re.compile(r"/gradio_api/queue/data/?")
_EVENT = re.compile(r"/gradio_api/queue/join/?")
_END = b'"msg":"close_stream"'  # within strings, quotation marks have a backslash
_NOT_KEPT = (b"cache-control", b"no-store")
_PATIENCE = 2  # seconds; a proxy may not tell that the page has closed the stream


class Streams:
    """Middleware that holds back the answer to an event while its page's stream ends.

    Gradio's script closes the connection as soon as it has read the last message. Until then the
    stream's response stays unfinished here, and then the event is answered.

    Args:
        app: the ASGI application behind it.
    """

    def __init__(self, app):
        self._app = app
        self._ends = {}  # by the page's name for itself: asyncio.Event, set when the page knows

    async def __call__(self, scope, receive, send):
        """Hands a request on, and the answer when it is time."""
        path = scope["path"] if scope["type"] == "http" else ""
        if _STREAM.fullmatch(path):
            await self._stream(scope, receive, send)
        elif _EVENT.fullmatch(path):
            await self._event(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _stream(self, scope, receive, send):
        name = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[-1]
        end = None

        async def send_on(message):
            nonlocal end
            if message["type"] == "http.response.start":
                # A cache that keeps a stream breaks off would ask for it twice.
                message = message | {"headers": [*message["headers"], _NOT_KEPT]}
            if _END in message.get("body", b""):
                end = self._ends[name] = asyncio.Event()
            if end and message["type"] == "http.response.body" and not message.get("more_body"):
                await _until_gone(receive)
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            if end:
                end.set()
            if self._ends.get(name) is end:
                self._ends.pop(name, None)

    async def _event(self, scope, receive, send):
        body = b""

        async def hear():
            nonlocal body
            message = await receive()
            body += message.get("body", b"")
            return message

        async def send_on(message):
            if message["type"] == "http.response.start" and (end := self._ends.get(_name(body))):
                await end.wait()
            await send(message)

        await self._app(scope, hear, send_on)


def _name(body):
    """What a page that asks for an event calls itself."""
    try:
        return str(json.loads(body)["session_hash"])
    except (ValueError, LookupError, TypeError):
        return None


async def _until_gone(receive):
    """Waits until the client has closed the connection."""
    try:
        async with asyncio.timeout(_PATIENCE):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        pass
