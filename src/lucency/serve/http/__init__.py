"""HTTP: the server, its limits, and the code around every request.

    settings      addresses and limits, checked before anything starts
    bodies        read a request body, never more than the limit
    middleware    hosts, origins, tokens, errors, metrics
    connection    one connection and its limits
    overload      recognise requests that are rejected under overload
    server        start, shut down, reload

A request passes from ``connection`` to uvicorn's parser, to ``middleware``, to a route of ``api``.
"""
