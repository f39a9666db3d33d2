"""The routes of the service: what is asked, and what is answered.

rest              POST /v1/predict and its like
tensors           arrays of the Open Inference Protocol
open_inference    the Open Inference Protocol, version 2
multipart         the files in a form
extras            activation map, image and neighbours, where asked for
openapi           the description of the interface, openapi.json
web               the page and the report
"""
