# SPDX-License-Identifier: MIT
"""Switches the faults of one program that runs with fault_shim.cc preloaded."""
import errno
import mmap
import pathlib
import struct

LAYOUT = struct.Struct("<qIII4x")  # struct Faults of fault_shim.cc
PRETEND = 1  # as a sync mode: say that it was done
NORMAL = 2  # as PRAGMA synchronous=NORMAL would have it, if it is there when the program starts


class Faults:
    """`environment` is for the program; it may be started many times with it."""

    def __init__(self, shim, path):
        # A library that is not there would be left out without a word, and no fault would happen.
        if not pathlib.Path(shim).is_file():
            raise FileNotFoundError(f"there is no {shim}: build it first")
        path = pathlib.Path(path)
        path.write_bytes(LAYOUT.pack(0, 0, 0, 0))
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), LAYOUT.size)
        self.environment = {"LD_PRELOAD": str(shim), "CHATCHAIN_FAULTS": str(path)}

    def _set(self, offset, fmt, value):
        struct.pack_into(fmt, self._map, offset, value)

    def clock(self, offset_s):
        self._set(0, "<q", int(offset_s * 1e9))

    def sync(self, mode):
        """0: as usual, PRETEND, NORMAL, or an errno."""
        self._set(8, "<I", mode)

    def write(self, error):
        self._set(12, "<I", error)

    def read(self, error):
        self._set(16, "<I", error)

    def clear_disk(self):
        self.sync(0)
        self.write(0)
        self.read(0)


EIO = errno.EIO
ENOSPC = errno.ENOSPC
