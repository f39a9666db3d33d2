"""Seconds and memory, beside other tools.

Each file but the package ``peers`` is one benchmark.

    decode          image files decoded per second, beside Pillow and libjpeg-turbo
    steps           each step of training, beside the limits of the machine
    training        a whole training, beside the article's code, Keras and PyTorch
    time_to_auroc   seconds until a network reaches an AUROC
    inference       one image at a time and many at once, beside Keras
    scaling         time and memory of training with more and larger images
    startup         seconds that commands need before they print anything
    tracking        what TensorBoard and MLflow add to a training
    cluster         decoding and predicting on a cluster, beside this machine alone
    manifest        time and memory to split ten million images
    shards          training steps in shards: cost of exact sums, and equal bits
    peers           the same trainings in Keras and PyTorch
"""
