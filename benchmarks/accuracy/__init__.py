"""Accuracy, and what each part of the recipe adds.

Each file but ``shifted_splits`` and ``lite_reference`` is one benchmark.

    recipes          every effort on the chest radiographs, with several seeds
    ablation         the default recipe without one of its parts
    shifted_splits   splits whose radiographs differ from the training radiographs
    other_datasets   the default recipe on images that are not radiographs
    grades           last layers for grades on a frozen backbone
    pooling          answers for several images, with features of a frozen backbone
    numbers          last layers for numbers on a frozen backbone
    lite_reference   features of the EfficientNet-Lites, as PyTorch computes them
"""
