"""Files: written atomically, read as untrusted input.

    addresses      addresses of files, through fsspec
    atomic         write under a temporary name, sync to disk, rename
    caches         the cache folder, and what is removed from it
    cells          cells of CSV files, exact and harmless in spreadsheets
    home           the home folder, or a private folder in its place
    locks          one process at a time
    reading        regular files of bounded size, JSON and tables
    safetensors    safetensors files with a validated header
    torch_weights  weight files of PyTorch, without unpickling

No other module opens a file of a run folder.
"""

from __future__ import annotations

from lucency.io.addresses import address_of, explained, file_system, is_missing, redacted
from lucency.io.atomic import (
    built_folder,
    rename_folder,
    sync_files,
    write_bytes,
    write_folder,
    write_json,
    write_text,
)
from lucency.io.caches import default_cache, prune
from lucency.io.cells import csv_lines, from_text
from lucency.io.home import home, missing_home
from lucency.io.locks import lock, locked
from lucency.io.reading import (
    LARGEST_JSON,
    LARGEST_TABLE,
    open_regular,
    parse_json,
    read_bytes,
    read_json,
    read_table,
    sha256_of,
    why,
)
from lucency.io.safetensors import ArrayPlace, array_places, arrays_of
from lucency.io.torch_weights import torch_arrays

__all__ = [
    "LARGEST_JSON",
    "LARGEST_TABLE",
    "ArrayPlace",
    "address_of",
    "array_places",
    "arrays_of",
    "built_folder",
    "csv_lines",
    "default_cache",
    "explained",
    "file_system",
    "from_text",
    "home",
    "is_missing",
    "lock",
    "locked",
    "missing_home",
    "open_regular",
    "parse_json",
    "prune",
    "read_bytes",
    "read_json",
    "read_table",
    "redacted",
    "rename_folder",
    "sha256_of",
    "sync_files",
    "torch_arrays",
    "why",
    "write_bytes",
    "write_folder",
    "write_json",
    "write_text",
]
