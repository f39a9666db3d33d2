"""The run folder: every file in it, and the folder while it is being made.

files        every file of a run: its name, format, size limit, writer and reader
checksums    the sha256 of every file, written last, by which changes are found
writer       an unfinished run: its lock, and how it is resumed
"""
