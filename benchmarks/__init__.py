"""Benchmarks: how fast, accurate, trustworthy and reliable Lucency is.

``python -m benchmarks`` lists them and runs them by name.

    __main__         list benchmarks, run them, write their CSV files
    command          a command in its own process: output, seconds, memory
    results          a measured figure, its table and its CSV row
    trial            a tested guarantee and its CSV row
    small_network    a network that compiles in seconds, to test what is around it
    sample_images    the chest radiographs, and copies of them
    file_structure   PNG chunks and JPEG segments
    dicom_files      DICOM files, valid and malicious
    speed            seconds and memory, beside other tools
    accuracy         accuracy on the test set, and what each part of the recipe adds
    trust            detectors, intervals, explanations and exports against known truth
    reliability      kills, full disks, too little memory, corrupt and hostile files
    service          the HTTP service under load, restarts and hostile clients
"""
