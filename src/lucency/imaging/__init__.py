"""Image files to pixels.

source     read the bytes of one file, and notice if it changes
frames     frames of a file as images of their own: names, and which are taken
detect     recognise image files by their first bytes
headers/   the header of an image file, without its metadata
dicom/     DICOM files to grey levels
raster     a recognised file to 8-bit pixels, by the decoder of its format
deep       files of more than 8 bits to pixels
depths     which value of such a file is white
notes      facts that users should know of an image, as flags
image      one file to pixels of a given size: the only decoding and resizing
decoder/   the same in sandboxed processes
"""
