"""The HTTP interfaces: routes, what they accept, and what they return.

    rest              POST /v1/predict and the other routes of our own interface
    tensors           tensors of the Open Inference Protocol
    open_inference    the Open Inference Protocol, version 2
    multipart         the files in a form
    extras            activation map, image and neighbours, if requested
    openapi           the description of the interface, openapi.json
    web               the page and the report

All of them call ``inference.service``.
"""
