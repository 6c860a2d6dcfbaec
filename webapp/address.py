"""Where the project listens."""

import socket

from errors import UserError


def listen(host, port):
    """A socket that takes connections, before anybody is told of the address.

    Args:
        host: str, name or address.
        port: int.

    Raises:
        UserError: if the address can't be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"Nothing can be served at {host}, port {port}: {error.strerror or error}. Is another "
            f"app.py running? Set --port, such as --port {port % 65535 + 1}."
        ) from None
