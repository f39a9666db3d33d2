"""Detectors, intervals, explanations and exports, each against a known truth.

``foreign_images`` and ``synthetic_evidence`` draw images; each other file is one benchmark.

    dicom                decoded DICOM files, beside an independent reader
    leaks                recall, false alarms and growth of the leak check
    probes               planted shortcuts and outliers
    ood                  images that the out-of-distribution detector flags
    foreign_images       photographs, drawings, patterns and noise
    explanations         maps against evidence at known places
    synthetic_evidence   noise images with or without a bright square
    coverage             how often 95 % intervals contain the true value
    grade_coverage       the same for grades, and how often their sets contain the true one
    value_coverage       the same for numbers, and how often their intervals contain the true one
    conformal            how often prediction sets contain the true class
    comparison           false alarms and power of comparing two classifiers
    export               predictions, size and time of every export format
    web                  predictions of the page in a browser
    equal_runs           weights, predictions and figures of two versions
"""
