"""The run folder: every file in it, and the folder while it is being made.

files        every file of a run: its name, format, size limit, writer and reader
checksums    the sha256 of every file, written last, by which changes are found
writer       an unfinished run: its lock, and how it is resumed
stored       a run at an address: its local copy, and how it is published
claim        what a lock is on object storage
objects      the files below an address, and their manifest
"""
