"""Train: a training split and a validation split in, a calibrated classifier out.

    plan            every choice with its value and its reason
    speed           how fast this machine trains
    budget          what a time budget buys at that speed
    schedule        the learning rate of each step
    early_stopping  the best epoch so far, and when to stop
    fused_layers    the same network in fewer passes over memory
    step            one step: loss, optimizer, and the variables that they change
    parallel        one step on several devices, with the same bits whatever their number
    state           the state of training besides the weights
    checkpoints     snapshots on disk, verified before use
    trainer         the loop over epochs, and the handling of faults
    calibrate       what is chosen on validation: temperature, threshold, sets, OOD detector
    fit             one network, from its checkpoints if there are any
    ensemble        the weights of several networks as those of one
    warm_start      the weights of an earlier classifier to fine-tune
    trials          the networks of folds, here or at once on the nodes of a cluster
    folds           cross-validation: one network for each fold, joined in one classifier
    backbone        a pretrained backbone: its features, and what its two trainings have in common
    ordinal         the last layer of grades, on which one score decides
    linear_head     a penalised regression on features, also cross-fitted
    frozen          the last layer alone, on a frozen backbone
    fine_tuning     how often the last stage of a backbone sees each image, and in how many views
    fine_tuned      the last stage of a backbone, on feature maps that are computed once
    pretrained      one of the two, or the better one
    train           all of these, in order
    both_starts     networks from scratch and a backbone in one classifier
    start           which of these it is, by held-out images

The signatures of ``train.train`` and ``folds.train_folds`` show that nothing in this package can
see the test split.
"""
