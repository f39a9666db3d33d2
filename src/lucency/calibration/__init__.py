"""From the network's logits to decisions.

    scaling            temperature and bias: from logits to calibrated probabilities
    reliability        calibration errors
    operating_point    a threshold chosen by a rule
    conformal          prediction sets with guaranteed coverage
    units              one answer for all images of a patient
    values             a number and its prediction interval
    ood                the out-of-distribution (OOD) detector
    ood_folds          the same, for a classifier of one network per fold

Everything here is chosen on validation, or with folds on the images that were held out of them.
"""
