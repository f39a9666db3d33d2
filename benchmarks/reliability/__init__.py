"""Guarantees under kills, faults and hostile input.

``python -m benchmarks`` names the benchmarks; the other files are parts of them.

    kills                 SIGKILL at random moments of a training
    cluster_kills         SIGKILL of processes, nodes and drivers of a cluster
    monitored_worker      a training that logs its steps and can kill itself
    faults                failing system calls: a full or broken disk
    corrupt_checkpoints   truncated and altered checkpoints
    changed_runs          random changes of one value in the files of a run
    memory_growth         memory over many epochs and predictions
    out_of_memory         training with too little memory
    corrupt_images        every case of corrupt_cases in a data set
    corrupt_cases         unreadable files, special files and odd names
    corrupt_files         content of corrupt PNG, JPEG and other files
    faulty_decoder        a decoder that crashes, hangs or runs out of memory
    fuzz_images           200,000 mutated image files
    image_mutations       random changes of PNG and JPEG files
    format_mutations      random changes of files of the other formats
    dicom_mutations       random changes of DICOM files
    planted_words         words in the metadata of images, searched in all that commands leave
    metadata              images that carry words wherever their formats have room
    traces                search files for words, also in packed and encoded content
    hostile_models        hostile run folders, each in a guarded process
    hostile               the cases of hostile_models
"""
