"""The commands without a command line: each reads data and runs, and writes a folder.

images      the images that a report shows
check       look at data, train nothing
predict     predict many images, on this machine or on a cluster
evaluate    evaluate a classifier, and record it in the ledger
budget      what a time budget buys, decided when a run begins
start       the training of a run, from scratch or on a frozen backbone
train       the main job: a folder of images in, a run folder out
"""
