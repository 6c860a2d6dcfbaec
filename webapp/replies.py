"""What clients are told besides what they came for: health, refusals, and of failures a number."""

import functools
import importlib.metadata
import secrets

from fastapi.responses import JSONResponse

from utils.messages import LOGGER

USAGE = "POST an image to /predict, or GET /health."


def describe(batches):
    """The answer to /health, of a `webapp.batches.Batches`."""
    status = batches.status
    found = {
        "status": status,
        "version": _version(),
        "taken": batches.taken,
        "places": batches.places,
    }
    if unet := batches.unet:
        found["weights"] = [
            {"file": path.name} | described.to_json()
            for path, described in zip(unet.paths, unet.descriptions, strict=True)
        ]
    return JSONResponse(found, 200 if status == "ready" else 503)


@functools.cache
def _version():
    """The installed package's version."""
    try:
        return importlib.metadata.version("unet-keras")
    except importlib.metadata.PackageNotFoundError:  # the repository's own files run
        return "source"


class Neutral:
    """Middleware: of what nobody foresaw, a client gets a number, and the log the rest.

    Args:
        app: the ASGI application behind it.
    """

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        """Answers a request."""
        try:
            await self._app(scope, receive, send)
        except Exception:
            if scope["type"] != "http":
                raise
            number = secrets.token_hex(4)
            LOGGER.exception("request %s failed.", number)
            text = f"Something went wrong here. The log has it under {number}."
            response = JSONResponse({"error": text, "id": number}, 500)
            await response(scope, receive, send)  # answers are sent whole, so none has begun


async def tell(request, error):
    """The answer to a request that an HTTPException refused."""
    text = error.detail
    if error.status_code in (404, 405):
        text = f"There is no {request.method} {request.url.path} here. {USAGE}"
    return JSONResponse({"error": text}, error.status_code, headers=error.headers)


async def tell_invalid(_, error):
    """The answer to a request whose parameters make no sense."""
    problems = [
        f"{found['loc'][-1]} is {found['input']!r}: {found['msg']}" for found in error.errors()
    ]
    return JSONResponse({"error": f"{'; '.join(problems)}."}, 422)
