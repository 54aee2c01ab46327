"""Compile the C programs of this folder and load them."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from work import CannotError

COMPILER = os.environ.get("CC", "cc")
# It lasts as long as the process, since the libraries are loaded from it.
FOLDER = tempfile.TemporaryDirectory(prefix="peers-")


@cache
def load(source, *options):
    """
    Compile a C file of this folder to a shared library.

    Parameters
    ----------
    source : str
        The name of the file.
    *options : str
        Options of the compiler, such as ``-O3`` and ``-lm``.

    Raises
    ------
    CannotError
        If there is no compiler, or it reports an error. The message has the first line of it.
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
    """Return a pointer to a NumPy array's data."""
    return array.ctypes.data_as(ctypes.c_void_p)
