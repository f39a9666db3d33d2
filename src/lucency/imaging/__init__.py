"""Image files to pixels.

source     read the bytes of one file, and notice if it changes
detect     recognise image files by their first bytes
headers    the header of a PNG or JPEG file, without its metadata
dicom/     DICOM files to grey levels
image      one file to pixels of a given size: the only decoding and resizing
decoder/   the same in sandboxed processes
"""
