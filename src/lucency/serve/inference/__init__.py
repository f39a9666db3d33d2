"""The service without HTTP: bytes or pixels in, predictions out.

    admission    admission control: which requests are accepted, and which are to try again later
    decoding     bytes to pixels, within a timeout
    batching     images that wait together go through the network together
    versions     the loaded classifier, checked before it is used
    metrics      counts and times for Prometheus
    errors       what is sent instead of a prediction
    service      all of these as one

An image passes through them in this order.
"""
