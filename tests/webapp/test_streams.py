"""Events asked for while their page's stream ends, with stand-ins for Gradio and the browser."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from webapp import streams
from webapp.streams import Streams

STREAM, EVENT = "/gradio_api/queue/data", "/gradio_api/queue/join"
COMPLETED = (
    b'data: {"msg":"process_completed","event_id":"1","output":"\\"msg\\":\\"close_stream\\""}\n\n'
)
END = b'data: {"msg":"close_stream","event_id":null}\n\n'


async def gradio(scope, receive, send):
    """Ends a stream with its messages, and answers an event."""
    if scope["path"] == EVENT:
        await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for message in scope.get("messages", ()):
        await send({"type": "http.response.body", "body": message, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Connection:
    """One request on its way: what was sent so far, and a client that may go."""

    def __init__(self, application, path, body=b"", query="", messages=()):
        self.sent, self._incoming = [], asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
        scope = {
            "type": "http", "path": path, "query_string": query.encode(), "messages": messages,
        }  # fmt: skip
        self.task = asyncio.ensure_future(application(scope, self._incoming.get, self._send))

    async def _send(self, message):
        self.sent.append(message)

    def go(self):
        self._incoming.put_nowait({"type": "http.disconnect"})

    @property
    def is_answered(self):
        return bool(self.sent)


def stream(application, name, *messages):
    return Connection(application, STREAM, query=f"session_hash={name}", messages=messages)


def event(application, name):
    body = json.dumps({"data": [], "fn_index": 0, "session_hash": name}).encode()
    return Connection(application, EVENT, body)


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def run(coroutine):
    """Runs it in a thread: in this one, browsers of other tests have a loop."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


def test_an_event_is_answered_when_the_page_has_closed_the_stream():
    async def play():
        application = Streams(gradio)
        ending = stream(application, "a", COMPLETED, END)
        await settle()
        assert [one.get("body") for one in ending.sent] == [None, COMPLETED, END]
        asked, of_another = event(application, "a"), event(application, "b")
        await settle()
        assert of_another.is_answered and not asked.is_answered
        ending.go()
        await asyncio.gather(ending.task, asked.task)
        assert asked.is_answered
        later = event(application, "a")
        await settle()
        assert later.is_answered

    run(play())


def test_a_stream_that_goes_on_holds_nothing_back():
    async def play():
        application = Streams(gradio)
        await stream(application, "a", COMPLETED).task  # which quotes the last message
        asked = event(application, "a")
        await settle()
        assert asked.is_answered

    run(play())


def test_a_client_that_does_not_tell_that_it_has_gone_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(streams, "_PATIENCE", 0.1)

    async def play():
        application = Streams(gradio)
        ending = stream(application, "a", END)
        await settle()
        asked = event(application, "a")
        await asyncio.wait_for(asyncio.gather(ending.task, asked.task), 60)
        assert asked.is_answered and ending.sent[-1] == {"type": "http.response.body", "body": b""}

    run(play())


def test_a_stream_that_is_torn_off_lets_the_event_go():
    async def play():
        application = Streams(gradio)
        ending = stream(application, "a", END)
        await settle()
        asked = event(application, "a")
        await settle()
        ending.task.cancel()
        await asked.task
        assert asked.is_answered

    run(play())


def test_no_cache_keeps_a_stream():
    async def play():
        open_one = stream(Streams(gradio), "a", COMPLETED)
        await open_one.task
        assert dict(open_one.sent[0]["headers"]) == {b"cache-control": b"no-store"}

    run(play())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"session_hash": ["a"]}', b"\xff"])
def test_events_that_name_no_page_are_handed_on(body):
    async def play():
        asked = Connection(Streams(gradio), EVENT, body)
        await asked.task
        assert asked.is_answered

    run(play())
