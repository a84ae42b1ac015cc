"""Network objects of MATLAB, read from MAT files as plain layers and connections by the library `mat-io`.

MATLAB stores a network as an object of its own classes, in a part of the file that is not documented. `mat-io` reads that part. It only
parses; it never calls anything that is in the file. It still runs in a child process with limits on time and memory, because a damaged
file may make any parser hang or ask for any amount of memory.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.child_process import ChildProcessFailure, run_in_child_process
from mrh_monai.errors import CheckpointError, MatFileError, MRHWarning
from mrh_monai.io import COPY_AGAIN, check_mat_file, open_hdf5
from mrh_monai.optional_imports import import_optional

NETWORK_CLASSES = ("DAGNetwork", "SeriesNetwork", "dlnetwork")
SECONDS, MEMORY = 15.0, 3 << 29
LONGEST_NAME = 100
SAVE_NETWORK = "save the trained network in MATLAB with save('NET.mat', 'net', 'info')"


@dataclass(frozen=True)
class Layer:
    """One layer of a network as stored.

    Attributes:
        name: Name of the layer.
        kind: MATLAB class without its package, such as ``Convolution2DLayer`` or ``ReLULayer``.
        properties: Texts, arrays of numbers, or `Unread` by name, such as ``Weights`` (3, 3, C, F) and ``Bias`` (1, 1, F).
    """

    name: str
    kind: str
    properties: dict[str, Any]


@dataclass(frozen=True)
class Unread:
    """A property that is neither a text nor numbers.

    Attributes:
        kind: MATLAB or Python class of the property.
    """

    kind: str

    def __str__(self) -> str:
        return f"a {self.kind}"


@dataclass(frozen=True)
class MatlabNetwork:
    """A network as stored.

    Attributes:
        kind: MATLAB class: ``DAGNetwork``, ``SeriesNetwork`` or ``dlnetwork``.
        layers: Layers in the order of the file.
        connections: Names of source and destination; a destination may name an input of the layer, such as ``add11/in2``.
        info: Numbers of the training record by name, such as ``TrainingRMSE`` (iterations,); empty if the file has none.
    """

    kind: str
    layers: list[Layer]
    connections: list[tuple[str, str]]
    info: dict[str, np.ndarray] = field(default_factory=dict)


def read_matlab_network(path: Path | str) -> MatlabNetwork:
    """Read the variable ``net``, and ``info`` where there is one, from a MAT file of version 5 or 7.3.

    Args:
        path: MAT file.

    Raises:
        CheckpointError: The file is not a MAT file, is damaged, or holds no network.
        OptionError: `mat-io` is not installed.
    """
    path = Path(path)
    import_optional("matio", "matlab")
    try:
        is_hdf5 = check_mat_file(path, SAVE_NETWORK)
        return run_in_child_process(_read, path, is_hdf5, seconds=SECONDS, memory=MEMORY)
    except ChildProcessFailure as error:
        raise CheckpointError(path, "a readable MATLAB file", str(error), COPY_AGAIN) from error
    except MatFileError as error:
        raise CheckpointError(error.where, error.expected, error.found, error.remedy) from error


def _read(path: Path, is_hdf5: bool) -> MatlabNetwork:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The libraries warn of damaged files, whose content is checked in the following lines.
        warnings.simplefilter("error", MRHWarning)
        return _read_hdf5(path) if is_hdf5 else _read_version_5(path)


def _read_version_5(path: Path) -> MatlabNetwork:
    from matio.utils.matheaders import read_mat_header
    from matio.v5 import matreader5

    offset, _, order = read_mat_header(path)
    with open(path, "rb") as file:
        subsystem = matreader5.read_subsystem(file, offset, order, raw_data=False, add_table_attrs=False)
        reader = matreader5.MatFile5Reader(file, byte_order=order, subsystem=subsystem)
        return _network(path, reader, subsystem, reader.list_variables)


def _read_hdf5(path: Path) -> MatlabNetwork:
    from matio.v7 import matreader7

    with open_hdf5(path) as file:
        subsystem = matreader7.read_subsystem(file, "<", False, False)
        return _network(path, matreader7.MatRead7(file, subsystem), subsystem, lambda: [name for name in file if name[0] != "#"])


def _network(path: Path, reader: Any, subsystem: Any, list_names: Callable[[], Iterable[str]]) -> MatlabNetwork:
    """Return the network of a file that one of the readers of `mat-io` has opened."""
    variables = reader.get_variables(["net", "info"])
    if "net" not in variables:
        names = sorted(list_names())[:20]
        raise CheckpointError(path, "a variable `net`", f"the variables {names}", SAVE_NETWORK)
    net = variables["net"]
    kind = getattr(net, "classname", None)
    if subsystem is None or kind not in NETWORK_CLASSES:
        found = _short_name(kind) if isinstance(kind, str) else type(net).__name__
        raise CheckpointError(f"{path}, net", f"a {', '.join(NETWORK_CLASSES)}", f"a {found}", SAVE_NETWORK)
    stored = _fields_with_layers(net)
    if stored is None:
        raise CheckpointError(f"{path}, net", f"the layers of a {kind}", "no layers that can be read", SAVE_NETWORK)
    identifiers = {id(value): key for key, value in subsystem.mcos_object_cache.items()}

    def class_of(layer: Any) -> str:
        # An array of layers has the name of the common base class. Each object has the name of its own class.
        identifier = identifiers.get(id(layer))
        name = layer.classname if identifier is None else subsystem.get_classname(subsystem.get_object_metadata(identifier)[0])
        return _short_name(str(name).split(".")[-1])

    learnables = _learnables(stored.get("Learnables"))
    layers = [_layer(item, class_of, learnables, path) for item in np.asarray(stored["Layers"], object).ravel()]
    return MatlabNetwork(kind, layers, _connections(stored.get("Connections"), layers, path), _info(variables.get("info")))


def _short_name(text: str) -> str:
    """Return a name for use in a message: without control characters, and of limited length."""
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a struct of one element, or the properties of an object with those of its saved struct."""
    if isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
        return {name: value[name].item() for name in value.dtype.names}
    properties = getattr(value, "properties", None)
    if not isinstance(properties, Mapping):
        return {}
    return {**properties, **_fields(properties.get("any"))}


def _fields_with_layers(value: Any, depth: int = 0) -> dict[str, Any] | None:
    """Return the fields of the nearest struct or object that has the layers. Its place depends on the class and MATLAB's release."""
    fields = _fields(value)
    if "Layers" in fields:
        return fields
    found = (_fields_with_layers(inner, depth + 1) for inner in fields.values() if depth < 4 and not isinstance(inner, str))
    return next((holder for holder in found if holder is not None), None)


def _layer(item: Any, class_of: Callable[[Any], str], learnables: Mapping[tuple[str, str], Any], path: Path) -> Layer:
    """Return a layer with its properties. The parameters of a `dlnetwork` come from the table of its learnables."""
    fields = _fields(item)
    name = _text_or_numbers(fields.get("Name"))
    if not isinstance(name, str) or not name or name != _short_name(name):
        found = _short_name(name) if isinstance(name, str) and name else f"a {type(item).__name__} without a name"
        raise CheckpointError(f"{path}, net", "layers with names", found, SAVE_NETWORK)
    properties = {key: _text_or_numbers(value) for key, value in fields.items()}
    for key in ("Weights", "Bias"):
        if (name, key) in learnables and np.size(properties.get(key, ())) == 0:
            properties[key] = learnables[name, key]
    return Layer(name, class_of(item), properties)


def _text_or_numbers(value: Any) -> Any:
    """Return a text or an array of numbers, unwrapped from the struct or `dlarray` of a parameter, or `Unread` for any other value."""
    for key in ("Value", "Data"):
        fields = _fields(value)
        if key in fields:
            value = fields[key]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "UT" and value.size <= 1:
        return str(value.item()) if value.size else ""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return np.asarray(value)
    return Unread(str(getattr(value, "classname", None) or type(value).__name__))


def _columns(table: Any, names: tuple[str, ...]) -> list[tuple[Any, ...]] | None:
    """Return the rows of some columns of a table, or None where the value is not a table with these columns."""
    try:
        return list(zip(*(list(table[name]) for name in names), strict=True))
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _learnables(table: Any) -> dict[tuple[str, str], Any]:
    rows = _columns(table, ("Layer", "Parameter", "Value")) or []
    return {(_as_text(layer), _as_text(parameter)): _text_or_numbers(value) for layer, parameter, value in rows}


def _connections(table: Any, layers: list[Layer], path: Path) -> list[tuple[str, str]]:
    if table is None:  # A SeriesNetwork is a chain of its layers.
        return [(a.name, b.name) for a, b in itertools.pairwise(layers)]
    rows = _columns(table, ("Source", "Destination"))
    if rows is None:
        raise CheckpointError(f"{path}, net", "a table of connections", f"a {type(table).__name__}", SAVE_NETWORK)
    if len(rows) > 4 * len(layers):
        raise CheckpointError(f"{path}, net", f"at most four connections for each of {len(layers)} layers", f"{len(rows)}", SAVE_NETWORK)
    return [(_short_name(_as_text(source)), _short_name(_as_text(destination))) for source, destination in rows]


def _as_text(value: Any) -> str:
    return str(value if isinstance(value, str) else _text_or_numbers(np.asarray(value)))


def _info(value: Any) -> dict[str, np.ndarray]:
    numbers = {key: _text_or_numbers(item) for key, item in _fields(value).items()}
    return {key: item.astype(np.float64).ravel() for key, item in numbers.items() if isinstance(item, np.ndarray) and item.size}
