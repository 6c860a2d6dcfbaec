"""Images out of requests, into files: within a limit of bytes, and never whole in memory."""

import shutil

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from errors import UserError
from webapp.postscript import refuse_postscript

FIELD = "image"  # of a form


async def save_image(request, path, most):
    """Writes the image that a request brings, as its body or in a form, to a file.

    Args:
        request: fastapi.Request.
        path: Path of the file.
        most: int, bytes that the body may have.

    Raises:
        HTTPException: 413 for a larger body, of which no more is read; 415 for one of another
            type; 400 for a broken form.
        UserError: if there is no image in it.
        starlette.requests.ClientDisconnect: if the client is gone.
    """
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    limited = Request(request.scope, _counted(request.receive, most))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        await _save_part(limited, path)
    elif kind in ("", "application/octet-stream") or kind.startswith("image/"):
        with open(path, "wb") as file:
            async for chunk in limited.stream():
                file.write(chunk)
    else:
        raise HTTPException(
            415,
            f"The Content-Type is {kind}. Send an image as image/jpeg, image/png and so on or as "
            f"application/octet-stream, or in the field {FIELD!r} of a form (multipart/form-data).",
        )
    if not path.stat().st_size:
        raise UserError("There is no image in the request. Send a file.")
    refuse_postscript(path)


def _too_large(most):
    return HTTPException(413, f"The body is larger than {most:,} bytes. Send a smaller file.")


def _counted(receive, most):
    """`receive` of a request, which raises as soon as the body has more than `most` bytes."""
    received = 0

    async def counted():
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise _too_large(most)
        return message

    return counted


async def _save_part(request, path):
    async with request.form(max_files=1, max_fields=1) as form:
        part = form.get(FIELD)
        if not isinstance(part, UploadFile):
            raise UserError(
                f"There is no file in the field {FIELD!r} of the form. Send one, as "
                f"curl -F {FIELD}=@street.jpg does."
            )
        with open(path, "wb") as file:
            await run_in_threadpool(shutil.copyfileobj, part.file, file)
