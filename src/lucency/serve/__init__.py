"""A classifier as a service on this computer: a web page, our own HTTP interface, a standard one.

    api          routes, what they accept, and what they return
    http         the server, its limits, and the code around every request
    inference    the service without HTTP: bytes or pixels in, predictions out
    web          the page on which a person gives images to a classifier
    app          the routes as one ASGI application

Starlette and uvicorn are loaded only when a service starts; ``pip install "lucency[serve]"``
brings them. File names, tags and contents of images are neither logged nor stored.
"""

from __future__ import annotations

from lucency.serve.http.settings import Settings

__all__ = ["Settings"]
