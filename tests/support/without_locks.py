"""A process whose kernel refuses every file lock, as a network disk without locks does.

Run as a program: ``without_locks.py ERROR COMMAND...`` runs ``wordsight COMMAND...`` so.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

FLOCK_FCNTL = {"x86_64": (73, 72), "aarch64": (32, 25)}  # numbers of the system calls
SETLK = 6  # of fcntl's commands; SETLKW is the next one
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # prctl


def is_possible() -> bool:
    return sys.platform == "linux" and platform.machine() in FLOCK_FCNTL


def refuse_locks(number: int) -> None:
    """From here on flock and fcntl's locks fail with this errno in this process and its children."""
    flock, fcntl = FLOCK_FCNTL[platform.machine()]
    program = b"".join(
        struct.pack("HBBI", *operation)
        for operation in (
            (LOAD, 0, 0, 0),  # the number of the call
            (EQUAL, 5, 0, flock),
            (EQUAL, 0, 3, fcntl),
            (LOAD, 0, 0, 24),  # the low half of its second argument
            (EQUAL, 2, 0, SETLK),
            (EQUAL, 1, 0, SETLK + 1),
            (RETURN, 0, 0, ALLOW),
            (RETURN, 0, 0, REFUSE | number),
        )
    )

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    system = ctypes.CDLL(None, use_errno=True)
    made = Program(len(program) // 8, program)
    if system.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or system.prctl(SECCOMP, FILTER, ctypes.byref(made), 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    refuse_locks(getattr(errno, sys.argv[1]))
    from wordsight.cli.main import main

    main(sys.argv[2:])
