"""Compiles the C programs beside this file and loads them."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from work import CannotError

COMPILER = os.environ.get("CC", "cc")
# As long as the process lives: the libraries are loaded from it.
FOLDER = tempfile.TemporaryDirectory(prefix="peers-")


@cache
def load(source, *options):
    """
    Compile a C file of this folder to a shared library.

    Parameters
    ----------
    source : str
        Name of the file.
    *options : str
        Of the compiler: ``-O3``, ``-lm``, ...

    Raises
    ------
    CannotError
        Where there is no compiler, or it finds a fault: its first line.
    """
    if shutil.which(COMPILER) is None:
        raise CannotError("there is no C compiler")
    handle, path = tempfile.mkstemp(".so", dir=FOLDER.name)
    os.close(handle)
    command = [COMPILER, "-shared", "-fPIC", Path(__file__).with_name(source), "-o", path, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotError(f"{source} does not compile: {done.stderr.strip().splitlines()[0]}")
    return ctypes.CDLL(path)


def pointer(array):
    """Where a NumPy array's numbers are."""
    return array.ctypes.data_as(ctypes.c_void_p)
