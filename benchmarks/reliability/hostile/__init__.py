"""Hostile run folders, and the guard that runs commands on them.

``cases`` of a module are the corrupted run folders that ``hostile_models`` tests.

    sample_run        a small valid run folder, and one case of corrupting it
    arrays            weights and OOD detectors
    json_files        JSON and CSV files
    onnx_files        ONNX files
    bombs             small ONNX files that need much memory or time
    file_types        links, pipes, sockets and folders in place of files
    process_guard     a forked process that reports what it opened and used
    guard_self_test   forbidden actions that the guard must report
"""
