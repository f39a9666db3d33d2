"""Accuracy, and what each part of the recipe adds.

Each file but ``shifted_splits`` is one benchmark.

    recipes          every effort on the chest radiographs, with several seeds
    ablation         the default recipe without one of its parts
    shifted_splits   splits whose radiographs differ from the training radiographs
    other_datasets   the default recipe on images that are not radiographs
"""
