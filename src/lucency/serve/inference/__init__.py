"""The service without HTTP: bytes or pixels in, predictions out.

admission    which requests may enter, and which are told to come later
decoding     bytes to pixels, within a deadline
batching     images that wait together go through the network together
versions     the loaded classifier, tried before it is put to work
metrics      counts and times for Prometheus
errors       what is answered instead of a prediction
service      all of these as one
"""
