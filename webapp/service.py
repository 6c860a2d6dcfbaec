"""A service for programs: POST an image to /predict; GET /health.

    python app.py --api --model_path logs/best_epoch_weights.weights.h5 --port 8000

Requests take a place as they come, or are refused; from then on `webapp.batches` has them. What
clients are told is one sentence; what went wrong within is in the log alone.
"""

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Literal, NamedTuple

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from errors import UserError
from nets.checks import check_weights_file
from utils.prediction.ensemble import find_weights
from webapp.address import listen
from webapp.answers import MEDIA_TYPES, make_answer
from webapp.batches import Batches, FullError
from webapp.bodies import FIELD, save_image
from webapp.replies import USAGE, Neutral, describe, tell, tell_invalid

_SOON, _LATER = {"Retry-After": "1"}, {"Retry-After": "5"}
_PATIENCE = 30  # seconds beyond max_wait that requests under way have at the end
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


class Limits(NamedTuple):
    """What a request may take.

    Attributes:
        max_bytes: int, of its body.
        max_wait: float, seconds to send it, and again to wait for the network.
    """

    max_bytes: int
    max_wait: float


class Asked(BaseModel):
    """What a request may ask for, beside its image."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["mask", "overlay", "json"] | None = Field(
        None, description="PNG of class ids, PNG of the drawing, or JSON; by default as Accept says"
    )
    mix_type: int = Field(0, ge=0, le=3, description="how the overlay is drawn, as by predict.py")
    polygons: bool = Field(False, description="whether the JSON has outlines of the regions")


def serve(config):
    """Serves until a signal ends it; requests that were taken are still answered.

    Args:
        config: app.AppConfig.

    Raises:
        UserError: if the weights can't be used, or the address can't be had.
    """
    for path in find_weights(config.model_path):
        check_weights_file(path)  # before anybody waits for them
    batches = Batches(
        partial(_load, config),
        config.batch_size,
        config.queue_size,
        failed=lambda: setattr(server, "should_exit", True),
    )
    limits = Limits(config.max_body_mb * 2**20, config.max_wait)
    server = uvicorn.Server(
        uvicorn.Config(
            make_service(batches, limits),
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=round(config.max_wait) + _PATIENCE,
        )
    )
    with listen(config.host, config.port) as listening:
        print(
            f"The service is at {config.host}, port {config.port}: {USAGE} Ctrl-C ends it.",
            flush=True,
        )
        server.run(sockets=[listening])
    if batches.error:
        raise batches.error
    return 0


def _load(config):
    from unet import Unet

    return Unet(config.model_path, max_pixels=config.api_max_pixels)


def make_service(batches, limits):
    """The service as an ASGI application.

    Args:
        batches: `webapp.batches.Batches`, which runs as long as the application does.
        limits: Limits.
    """

    @asynccontextmanager
    async def lifespan(_):
        with batches.running():
            yield

    # The pages of FastAPI's own load scripts from elsewhere.
    app = FastAPI(title="unet-keras", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(Neutral)
    app.add_exception_handler(AnyHTTPException, tell)
    app.add_exception_handler(RequestValidationError, tell_invalid)

    @app.get("/health")
    async def health() -> JSONResponse:
        return describe(batches)

    @app.post("/predict", response_class=Response, openapi_extra=_BODY)
    async def predict(request: Request, asked: Annotated[Asked, Query()]) -> Response:
        if asked.format is None:
            wants_json = "application/json" in request.headers.get("accept", "")
            asked.format = "json" if wants_json else "mask"
        job = _admit(batches)
        try:
            job.answer = partial(make_answer, asked, batches.unet)
            await _receive(request, job, limits)
            batches.put(job)
            content = await _result(request, job, limits.max_wait)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except UserError as error:
            raise HTTPException(400, str(error).replace(str(job.path), "sent")) from None
        finally:
            job.future.cancel()  # gives the place back, if it is not answered
        return Response(content, media_type=MEDIA_TYPES[asked.format])

    return app


def _admit(batches):
    """A Job with a place; HTTPException if there is none."""
    if batches.status == "loading":
        raise HTTPException(503, "The network is being loaded. Try again soon.", _LATER)
    if batches.status != "ready":
        raise HTTPException(503, "The network has stopped; the log says why.")
    try:
        return batches.admit()
    except FullError:
        message = f"All {batches.places} places are taken. Try again after the time of Retry-After."
        raise HTTPException(429, message, _SOON) from None


async def _receive(request, job, limits):
    try:
        async with asyncio.timeout(limits.max_wait):
            await save_image(request, job.path, limits.max_bytes)
    except TimeoutError:
        message = f"The body did not come within {limits.max_wait:g} seconds."
        raise HTTPException(408, message, {"Connection": "close"}) from None


async def _result(request, job, max_wait):
    """What the job's future holds; a job that waits too long, or for nobody, is cancelled."""
    answered = asyncio.wrap_future(job.future)
    answered.add_done_callback(lambda done: done.cancelled() or done.exception())  # is told below
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        first = {answered, gone}
        await asyncio.wait(first, timeout=max_wait, return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            if gone.done():
                raise ClientDisconnect
            if job.future.cancel():
                message = f"The network had no time for it within {max_wait:g} seconds. Try again."
                raise HTTPException(503, message, _SOON)
        return await answered  # if the network has it by now, it is not lost
    finally:
        gone.cancel()


async def _until_gone(request):
    while (await request.receive())["type"] != "http.disconnect":
        pass
