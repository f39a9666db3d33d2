"""The trainings that Lucency is compared with.

Both need the files of class folders.

    keras     the article's code, and the current way in Keras
    pytorch   the article's network and ResNet-18 in PyTorch
"""
