"""Image files to pixels.

source     the bytes of one file, unchanged since it was found
headers    what a PNG or JPEG file says about itself
dicom/     DICOM files to grey levels
image      one file to pixels of a given size: the only decoding and resizing
decoder/   the same in processes that may crash
"""
