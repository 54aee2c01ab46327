"""What a .keras file holds: a zip archive of the settings, in JSON, and of the arrays, in HDF5."""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from jitprop import checks
from jitprop._types import Array
from jitprop.checks import quoted

SMALL = 1 << 24
"""Entries of an archive may have so many bytes, however small they are when compressed."""
MOST_TIMES = 100
"""Larger ones may be so many times larger than compressed. Keras compresses nothing."""


DAMAGES = (
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What h5py raises for damaged files."""


class Entry(NamedTuple):
    """
    A layer in the settings of a model.

    Attributes
    ----------
    kind : str
        Its class.
    name : str
    settings : dict
    group : str
        Where the HDF5 file holds its arrays, unless it says so itself.
    """

    kind: str
    name: str
    settings: Mapping[str, Any]
    group: str


class KerasFile:
    """
    An open .keras file.

    Nothing in it is unpickled or run, and no other file is read, whatever it names.

    Parameters
    ----------
    path : Path
    source : str
        What error messages call it.

    Raises
    ------
    ValueError
        For another format, or a damaged file.
    ImportError
        If h5py is not installed.
    """

    def __init__(self, path: Path, source: str) -> None:
        self.source = source
        h5py = _h5py()
        with path.open("rb") as file:
            beginning = file.read(8)
        if beginning == b"\x89HDF\r\n\x1a\n":
            raise ValueError(
                f"{source} has the older format HDF5: load it with Keras 3, and save it under a "
                "name that ends in .keras"
            )
        try:
            with zipfile.ZipFile(path) as archive:
                config = self._json(archive, "config.json")
                metadata = self._json(archive, "metadata.json")
                arrays = self._entry(archive, "model.weights.h5")
        except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
            raise ValueError(f"{source} is not a .keras file, or damaged: {error}") from error
        version = str(metadata.get("keras_version"))
        if not version.startswith("3."):
            raise ValueError(
                f"{source} must be of Keras 3; it is of {quoted(version)}: load it with Keras 3 "
                "and save it again"
            )
        self.config = config
        try:
            self._arrays = h5py.File(io.BytesIO(arrays), "r")
        except DAMAGES as error:
            raise ValueError(f"{source} has damaged arrays: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._arrays.close()

    # The archive.

    def _entry(self, archive: zipfile.ZipFile, name: str) -> bytes:
        """Return the content of an entry."""
        try:
            info = archive.getinfo(name)
        except KeyError:
            raise ValueError(f"{self.source} must be a .keras file; it has no {name}") from None
        if info.file_size > max(SMALL, MOST_TIMES * info.compress_size):
            raise ValueError(
                f"{self.source} has a {name} that says to have {info.file_size:,} bytes, "
                f"{info.compress_size:,} of them compressed: that is not a file of Keras"
            )
        if info.flag_bits & 1 or info.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise ValueError(f"{self.source} has an encrypted or oddly compressed {name}")
        return archive.read(info)

    def _json(self, archive: zipfile.ZipFile, name: str) -> Mapping[str, Any]:
        try:
            found = json.loads(self._entry(archive, name).decode())
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{self.source} has a damaged {name}: {error}") from error
        return self.mapping(found, name)

    # The settings.

    def mapping(self, value: Any, name: str) -> Mapping[str, Any]:
        """Return a JSON object; a ValueError says if it is something else."""
        if not isinstance(value, dict):
            raise ValueError(
                f"{self.source} must have an object as {name}; it has {checks.shown(value)}"
            )
        return value

    def number(self, entry: Entry, name: str) -> float:
        """Return a number among the settings of a layer."""
        return self.as_number(entry.settings.get(name), f"{name} of {entry.name}")

    def as_number(self, value: Any, name: str) -> float:
        """Return a finite number."""
        try:
            return checks.number(name, value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.source}: {error}") from None

    def entry(self, value: Any, name: str, group: str = "") -> Entry:
        """Return a layer from its settings. It must be a class of Keras, and not of its user."""
        found = self.mapping(value, name)
        kind, module = found.get("class_name"), found.get("module")
        settings = self.mapping(found.get("config", {}), f"config of {name}")
        if not isinstance(kind, str) or not _is_of_keras(module):
            raise ValueError(
                f"{self.source} has {name}, {quoted(kind)} of {quoted(module)}, which is not "
                "Keras' own"
            )
        return Entry(kind, quoted(settings.get("name", kind)), settings, group)

    def layers(self) -> list[Entry]:
        """
        Return the layers in the order of computation.

        Raises
        ------
        ValueError
            For a model that is no chain of layers.
        """
        model = self.entry(self.config, "a model")
        if model.kind not in ("Sequential", "Functional", "Model"):
            raise ValueError(
                f"{self.source} must be a Sequential or a functional model; it is a "
                f"{quoted(model.kind)}"
            )
        listed = model.settings.get("layers")
        if not isinstance(listed, list) or not listed:
            raise ValueError(f"{self.source} must have layers; it has {checks.shown(listed)}")
        entries, seen = [], dict[str, int]()
        for i, layer in enumerate(listed):
            entry = self.entry(layer, f"layer {i}")
            group = _snake_case(entry.kind)
            number = seen[group] = seen.get(group, -1) + 1
            entries.append(entry._replace(group=f"{group}_{number}" if number else group))
        if model.kind == "Sequential":
            return entries
        return self._in_order(model, listed, entries)

    def _in_order(self, model: Entry, listed: list[Any], entries: list[Entry]) -> list[Entry]:
        """Return the layers of a functional model from its input to its output."""
        before: dict[str, str | None] = {}
        names = [str(self.mapping(layer, "a layer").get("name")) for layer in listed]
        for name, layer, entry in zip(names, listed, entries, strict=True):
            before[name] = self._one_input(layer, entry)
        output = self._one_name(model, "output_layers")
        by_name = dict(zip(names, entries, strict=True))
        order: list[Entry] = []
        at: str | None = output
        while at is not None:
            if at not in by_name:  # unknown, or reached for the second time
                raise ValueError(f"{self.source} is not a chain of layers, at {quoted(at)}")
            order.append(by_name.pop(at))
            at = before[at]
        if by_name:
            left = ", ".join(quoted(name) for name in by_name)
            raise ValueError(f"{self.source} must be a chain of layers; {left} stand beside it")
        return order[::-1]

    def _one_input(self, layer: Any, entry: Entry) -> str | None:
        """Return the name of the one layer before this one; None for the input."""
        calls = layer.get("inbound_nodes")
        if calls == []:
            return None
        found: list[Any] = []
        if isinstance(calls, list) and len(calls) == 1 and isinstance(calls[0], dict):
            _find_histories(calls[0].get("args"), found)
            _find_histories(calls[0].get("kwargs"), found)
        if len(found) != 1 or not isinstance(found[0], list) or not isinstance(found[0][0], str):
            raise ValueError(
                f"{self.source} must be a chain of layers, each used once with one input; layer "
                f"{entry.name} has others"
            )
        name: str = found[0][0]
        return name

    def _one_name(self, model: Entry, key: str) -> str:
        found = model.settings.get(key)
        while isinstance(found, list) and len(found) == 1:  # one output, or a list of one
            found = found[0]
        if isinstance(found, list) and len(found) == 3 and isinstance(found[0], str):
            return found[0]
        raise ValueError(f"{self.source} must have one of {key}; it has {checks.shown(found)}")

    # The arrays.

    def weights(self, entry: Entry) -> list[Array]:
        """Return the weights of a Dense layer, (n_in, n_out), and its biases if it has any."""
        n_out, with_bias = entry.settings.get("units"), entry.settings.get("use_bias", True)
        try:
            group = self._group_of(entry)
        except DAMAGES as error:
            raise ValueError(f"{self.source} has damaged arrays: {error}") from error
        arrays = self._numbered(group, f"layer {entry.name}")
        if len(arrays) != 1 + bool(with_bias):
            raise ValueError(
                f"{self.source} must have {1 + bool(with_bias)} arrays in layer {entry.name}; it "
                f"has {len(arrays)}"
            )
        W = arrays[0]
        if W.ndim != 2 or W.shape[1] != n_out or 0 in W.shape:
            raise ValueError(
                f"{self.source} must have weights of the shape (n_in, {quoted(n_out)}) in layer "
                f"{entry.name}; it has {W.shape}"
            )
        if with_bias and arrays[1].shape != (n_out,):
            raise ValueError(
                f"{self.source} must have biases of the shape ({n_out},) in layer {entry.name}; it "
                f"has {arrays[1].shape}"
            )
        for array in arrays:
            if array.dtype not in (np.float32, np.float64) or array.dtype != W.dtype:
                raise ValueError(
                    f"{self.source} must have float32 or float64 in layer {entry.name}; it has "
                    f"{array.dtype}"
                )
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{self.source} must have finite parameters; layer {entry.name} has inf or nan"
                )
        return arrays

    def optimizer_state(self) -> list[Array]:
        """Return what the optimizer keeps, in Keras' order; empty if there is no state."""
        return self._numbered("optimizer/vars", "the optimizer")

    def _group_of(self, entry: Entry) -> str:
        """Return where a layer's arrays are. Keras numbers the layers of each class."""
        layers = self._at("layers")
        if layers is not None:
            for name in layers:
                group = self._at(f"layers/{name}/vars")
                if group is not None and quoted(group.attrs.get("name")) == entry.name:
                    return f"layers/{name}/vars"
        return f"layers/{entry.group}/vars"

    def _at(self, path: str) -> Any:
        """Return the group of this path, or None. Links to other files are not followed."""
        h5py = _h5py()
        group = self._arrays
        for name in path.split("/"):
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                return None
            group = group[name]
            if not isinstance(group, h5py.Group):
                return None
        return group

    def _numbered(self, path: str, of: str) -> list[Array]:
        """Return the arrays 0, 1, ... of a group; a group that is missing has none."""
        h5py = _h5py()
        try:
            group = self._at(path)
            if group is None:
                return []
            names = [str(i) for i in range(len(group))]
            if {*group} != {*names}:
                raise ValueError(f"{self.source} must number the arrays of {of} from 0 on")
            arrays = []
            for name in names:
                link = group.get(name, getlink=True)
                found = group[name] if isinstance(link, h5py.HardLink) else None
                if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu":
                    raise ValueError(f"{self.source} must have arrays of numbers in {of}")
                if found.is_virtual or found.external or found.id.get_storage_size() < found.nbytes:
                    raise ValueError(f"{self.source} must hold all numbers of {of} itself")
                arrays.append(np.asarray(found[()]))
        except DAMAGES as error:
            if isinstance(error, ValueError) and str(error).startswith(self.source):
                raise
            raise ValueError(f"{self.source} has damaged arrays in {of}: {error}") from error
        return arrays


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("from_keras needs h5py: pip install 'jitprop[keras]'") from error
    return h5py


def _is_of_keras(module: Any) -> bool:
    return isinstance(module, str) and (module == "keras" or module.startswith("keras."))


def _find_histories(value: Any, found: list[Any]) -> None:
    """Collect the origins of all tensors in the arguments of a call."""
    if isinstance(value, list):
        for each in value:
            _find_histories(each, found)
    elif isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            config = value.get("config")
            found.append(config.get("keras_history") if isinstance(config, dict) else None)
        else:
            for each in value.values():
                _find_histories(each, found)


def _snake_case(name: str) -> str:
    """Return the name of a class as Keras writes it in files: Dense is dense, ReLU re_lu."""
    words = re.sub(r"\W+", "", name)
    words = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", words)
    return re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()
