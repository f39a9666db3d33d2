"""Decode images in sandboxed processes, which may crash, hang or run out of memory.

    protocol      requests and responses, byte by byte
    child         the process that decodes, and its limits
    process       start a process, send it requests, report why it died
    pool          several processes; each image goes to an idle one

To a decoder, a file from outside is a program, and decoders have had vulnerabilities. A failure in
such a process costs one image, which is reported with the reason; everything else continues. The
processes run as the same user and are not isolated from the network or from reading the disk: this
contains failures, and makes attacks harder, not impossible.

Import from the modules: nothing is imported here, as the decoding process imports this package too,
and starts in half the time without NumPy.
"""
