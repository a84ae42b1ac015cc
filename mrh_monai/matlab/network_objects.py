"""MATLAB network objects as plain layers and connections, read by the `mat-io` library.

MATLAB stores a network as an object of its own classes in a part of the file that is not documented; `mat-io` reads it. It only parses:
nothing in the file is ever called. It runs in a process of its own all the same, with limits, since a broken file may make any parser
hang or ask for any amount of memory.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mrh_monai.errors import CheckpointError, MatFileError
from mrh_monai.io import COPY_AGAIN, IsolatedError, check_envelope, isolated, open_hdf5
from mrh_monai.optional_imports import need

NETWORK_CLASSES = ("DAGNetwork", "SeriesNetwork", "dlnetwork")
SECONDS, MEMORY = 15.0, 3 << 29
LONGEST_NAME = 100
SAVE_NETWORK = "save the trained network in MATLAB with save('NET.mat', 'net', 'info')"


@dataclass(frozen=True)
class Layer:
    """One layer as stored.

    Attributes:
        name: Unique in its network.
        kind: MATLAB class without its package: ``Convolution2DLayer``, ``ReLULayer``.
        properties: Texts, arrays of numbers, or `Unread` by name; ``Weights`` (3, 3, C, F), ``Bias`` (1, 1, F).
    """

    name: str
    kind: str
    properties: dict[str, Any]


@dataclass(frozen=True)
class Unread:
    """A property that is neither text nor numbers.

    Attributes:
        kind: Its MATLAB or Python class.
    """

    kind: str

    def __str__(self) -> str:
        return f"a {self.kind}"


@dataclass(frozen=True)
class MatlabNetwork:
    """A network as stored.

    Attributes:
        kind: ``DAGNetwork``, ``SeriesNetwork`` or ``dlnetwork``.
        layers: In the file's order.
        connections: (source, destination); a destination may name an input, as ``add11/in2``.
        info: Numbers of the training record by name, such as ``TrainingRMSE`` (iterations,); empty if the file has none.
    """

    kind: str
    layers: list[Layer]
    connections: list[tuple[str, str]]
    info: dict[str, np.ndarray] = field(default_factory=dict)


def read_matlab_network(path: Path | str) -> MatlabNetwork:
    """Read the variable ``net``, and ``info`` where there is one, of a MAT file of version 5 or 7.3.

    Raises:
        CheckpointError: It is no such file, is damaged, or holds no network.
        OptionError: `mat-io` is not installed.
    """
    path = Path(path)
    need("matio", "matlab")
    try:
        is_hdf5 = check_envelope(path, SAVE_NETWORK)
        return isolated(_read, path, is_hdf5, seconds=SECONDS, memory=MEMORY)
    except IsolatedError as error:
        raise CheckpointError(path, "a readable MATLAB file", str(error), COPY_AGAIN) from error
    except MatFileError as error:
        raise CheckpointError(error.where, error.expected, error.found, error.remedy) from error


def _read(path: Path, is_hdf5: bool) -> MatlabNetwork:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is checked below
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
    variables = reader.get_variables(["net", "info"])
    if "net" not in variables:
        names = sorted(list_names())[:20]
        raise CheckpointError(path, "a variable `net`", f"the variables {names}", SAVE_NETWORK)
    net = variables["net"]
    kind = getattr(net, "classname", None)
    if subsystem is None or kind not in NETWORK_CLASSES:
        found = _printable(kind) if isinstance(kind, str) else type(net).__name__
        raise CheckpointError(f"{path}, net", f"a {', '.join(NETWORK_CLASSES)}", f"a {found}", SAVE_NETWORK)
    stored = _holder(net)
    if stored is None:
        raise CheckpointError(f"{path}, net", f"the layers of a {kind}", "none that can be read", SAVE_NETWORK)
    identifiers = {id(value): key for key, value in subsystem.mcos_object_cache.items()}

    def class_of(layer: Any) -> str:
        # An array of layers names its common base class; the class of each stands with the object itself.
        identifier = identifiers.get(id(layer))
        name = layer.classname if identifier is None else subsystem.get_classname(subsystem.get_object_metadata(identifier)[0])
        return _printable(str(name).split(".")[-1])

    learnables = _learnables(stored.get("Learnables"))
    layers = [_layer(item, class_of, learnables, path) for item in np.asarray(stored["Layers"], object).ravel()]
    return MatlabNetwork(kind, layers, _connections(stored.get("Connections"), layers, path), _info(variables.get("info")))


def _printable(text: str) -> str:
    """A name as it may stand in a message: no control characters, no end of the world."""
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."


def _fields(value: Any) -> dict[str, Any]:
    """The fields of a struct of one element, or the properties of an object (those of its saved struct among them)."""
    if isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
        return {name: value[name].item() for name in value.dtype.names}
    properties = getattr(value, "properties", None)
    if not isinstance(properties, Mapping):
        return {}
    return {**properties, **_fields(properties.get("any"))}


def _holder(value: Any, depth: int = 0) -> dict[str, Any] | None:
    """The nearest struct or object that has the layers: classes and releases nest it differently."""
    fields = _fields(value)
    if "Layers" in fields:
        return fields
    found = (_holder(inner, depth + 1) for inner in fields.values() if depth < 4 and not isinstance(inner, str))
    return next((holder for holder in found if holder is not None), None)


def _layer(item: Any, class_of: Callable[[Any], str], learnables: Mapping[tuple[str, str], Any], path: Path) -> Layer:
    fields = _fields(item)
    name = _plain(fields.get("Name"))
    if not isinstance(name, str) or not name or name != _printable(name):
        found = _printable(name) if isinstance(name, str) and name else f"a {type(item).__name__} without"
        raise CheckpointError(f"{path}, net", "layers with names", found, SAVE_NETWORK)
    properties = {key: _plain(value) for key, value in fields.items()}
    for key in ("Weights", "Bias"):
        if (name, key) in learnables and np.size(properties.get(key, ())) == 0:
            properties[key] = learnables[name, key]
    return Layer(name, class_of(item), properties)


def _plain(value: Any) -> Any:
    """A text or an array of numbers; parameters are unwrapped from the struct or `dlarray` that they lie in."""
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


def _columns(table: Any, names: tuple[str, ...]) -> list[tuple] | None:
    try:
        return list(zip(*(list(table[name]) for name in names), strict=True))
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _learnables(table: Any) -> dict[tuple[str, str], Any]:
    rows = _columns(table, ("Layer", "Parameter", "Value")) or []
    return {(_text(layer), _text(parameter)): _plain(value) for layer, parameter, value in rows}


def _connections(table: Any, layers: list[Layer], path: Path) -> list[tuple[str, str]]:
    if table is None:  # a SeriesNetwork is a chain
        return [(a.name, b.name) for a, b in itertools.pairwise(layers)]
    rows = _columns(table, ("Source", "Destination"))
    if rows is None:
        raise CheckpointError(f"{path}, net", "a table of connections", f"a {type(table).__name__}", SAVE_NETWORK)
    if len(rows) > 4 * len(layers):
        raise CheckpointError(f"{path}, net", f"at most four connections for each of {len(layers)} layers", f"{len(rows)}", SAVE_NETWORK)
    return [(_printable(_text(source)), _printable(_text(destination))) for source, destination in rows]


def _text(value: Any) -> str:
    return str(value if isinstance(value, str) else _plain(np.asarray(value)))


def _info(value: Any) -> dict[str, np.ndarray]:
    numbers = {key: _plain(item) for key, item in _fields(value).items()}
    return {key: item.astype(np.float64).ravel() for key, item in numbers.items() if isinstance(item, np.ndarray) and item.size}
