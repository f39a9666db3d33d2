"""Images decoded in processes of their own, which may crash, hang or run out of memory.

    protocol      what is asked and answered, byte by byte
    child         the process that decodes, and its limits
    process       start it, ask it, hear why it died
    pool          several of them, each image to one that is free

A file of somebody else is a program for the decoder, and decoders have had holes. What happens in
such a process costs one image, which is told with the reason; all else goes on. The processes
are of the same user and not cut off from the network or the disk for reading: this contains
failures, and makes attacks harder, not impossible.

Import from the modules: nothing is loaded here, as the process that decodes loads this too, and
without NumPy it starts in half the time.
"""
