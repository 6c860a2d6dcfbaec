"""What annotation files hold as base64 text: images mostly."""

import base64

from PIL import UnidentifiedImageError

from errors import UserError


def decode_base64(text, name):
    """Decodes base64.

    Args:
        text: str; what stands before a comma, such as "data:image/png;base64,", is no part.
        name: str, for the message.

    Returns:
        bytes.

    Raises:
        UserError: if it is no such text.
    """
    try:
        return base64.b64decode(text.rpartition(",")[2])
    except (AttributeError, ValueError) as error:
        raise UserError(f"{name} is not base64 text: {error}. Save the file again.") from error


def image_reason(error):
    """str: why bytes are no image, of what Pillow raised. Its own words may hold an address."""
    return "it is no image." if isinstance(error, UnidentifiedImageError) else str(error)
