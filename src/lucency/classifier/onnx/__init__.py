"""An untrusted ONNX file: validated, and run within limits.

    protobuf    remove the weights and bound the rest before anything is parsed
    cost        the memory and the multiplications that the network needs
    validate    the operations and values that it may contain
    session     ONNX Runtime on a file that is valid

A file is run only after all of its operations, values and sizes have been checked.
"""
