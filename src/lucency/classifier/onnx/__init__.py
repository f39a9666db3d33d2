"""An ONNX file that anybody may have made: checked, and run within a limit of memory.

protobuf    the file cut up before it is parsed
cost        the memory and work that it needs
validate    what it may contain
session     ONNX Runtime on a file that passed
"""
