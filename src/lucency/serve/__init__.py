"""A classifier as a service on this computer: a page, a plain HTTP interface, and a standard one.

    settings     addresses and limits, checked
    refusals     what is answered instead, in one form
    admission    who may come in, and who is told to come later
    batching     images that wait together go through the network together
    decoding     bytes to pixels, within a deadline
    versions     the loaded classifier, tried before it is put to work
    extras       activation maps, images and neighbours, where asked for
    service      all of these as one: bytes in, predictions out
    bodies       read what was sent, never more than the limit
    multipart    the files in a form
    guard        hosts, origins, tokens, errors, measurements: around every request
    plain        POST /v1/predict and its like
    tensors      arrays of the Open Inference Protocol
    protocol     the Open Inference Protocol, version 2
    pages        the page and the report
    metrics      what Prometheus reads
    description  openapi.json
    app          the routes
    connection   one connection: its deadlines, and HTTP that is none
    server       start, drain, reload

Nothing of Starlette or uvicorn is loaded before it is needed; ``pip install "lucency[serve]"``
brings them. File names, tags and contents of images are neither logged nor stored.
"""

from __future__ import annotations

from lucency.serve.http.settings import Settings

__all__ = ["Settings"]
