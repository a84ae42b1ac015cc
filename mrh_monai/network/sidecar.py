"""The sidecar of trained weights: `model.json` beside `model.pt`, which says what the network is and how intensities are scaled."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrh_monai.errors import CheckpointError, OptionError
from mrh_monai.network.calibration import Calibration
from mrh_monai.patch_geometry import PatchGeometry
from mrh_monai.scaling import Scaling, scaling_from_dict

if TYPE_CHECKING:  # PyTorch takes seconds to load, and a sidecar can be read without it
    from mrh_monai.network.mrh_net import MRHNet

# The short name of a stain becomes a part of file names.
STAIN = re.compile(r"[A-Za-z0-9][\w-]{0,31}", re.A)
LARGEST_SIDECAR = 64 << 20
TRAIN_FIRST = "train the bundle first, import weights into it, or name trained weights (--ckpt_path of the bundle's configs)"
AGAIN = "train or import the network again"


@dataclass(frozen=True)
class Sidecar:
    """What inference needs to know of a network, and where the network comes from.

    Attributes:
        stain: Short name of the stain, as in result files: ``af``, ``nf``, ``mbp``.
        units: Units of the stain's intensities.
        channels: Names of the input channels in order.
        residual_blocks: Number of residual blocks B.
        features: Number of features F.
        patch_axes: Array axes that a patch spans.
        patch_radius: Half the edge of a patch, rounded down.
        scaling: Constants of the training set.
        sha256: SHA-256 of `model.pt`.
        parent: The network from whose weights the training started; None if it started from random weights.
        source: How the weights were made: recipe, seed, scores and so on.
        intervals: How large the errors on subjects with histology were that took no part in the training; None where the network has no
            interval head.
    """

    stain: str
    units: str
    channels: list[str]
    residual_blocks: int
    features: int
    patch_axes: list[int]
    patch_radius: int
    scaling: Scaling
    sha256: str = ""
    parent: dict[str, Any] | None = None
    source: dict[str, Any] = field(default_factory=dict)
    intervals: Calibration | None = None

    @property
    def patch(self) -> PatchGeometry:
        """Shape of the patches that the network takes."""
        return PatchGeometry(tuple(self.patch_axes), self.patch_radius)

    @property
    def gives_intervals(self) -> bool:
        """Whether there is an interval head that was measured on subjects with histology."""
        return self.intervals is not None and bool(self.intervals.subjects)

    def network(self) -> MRHNet:
        """Return an `MRHNet` of this shape, whose weights are not yet loaded."""
        from mrh_monai.network.mrh_net import MRHNet

        return MRHNet(len(self.channels), self.features, self.residual_blocks, spatial_dims=len(self.patch_axes))

    def to_dict(self) -> dict[str, Any]:
        """Return the sidecar as plain values, for JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)} | {"scaling": self.scaling.to_dict()}
        # Without an interval head the key is left out, so that every version can read the sidecar.
        del values["intervals"]
        return values if self.intervals is None else values | {"intervals": self.intervals.to_dict()}

    def check_agreement(self, where: Path | str, channels: Sequence[str] | None = None, **stated: Any) -> None:
        """Compare the network with what the user has or asks for.

        Args:
            where: The weights that errors name.
            channels: Names of the user's channels; None not to compare them.
            stated: Fields of the sidecar that the user stated, such as ``residual_blocks=5``; None where nothing was stated.

        Raises:
            CheckpointError: They differ; the sentence names both sides.
        """
        for name, value in stated.items():
            found = getattr(self, name)
            if value is not None and value != found:
                remedy = f"leave --{name} out, or name other weights"
                raise CheckpointError(where, f"{name} = {value} as asked for", f"{name} = {found}", remedy)
        if channels is None:
            return
        remedy = "name weights that were trained on the protocol of this bundle"
        if len(channels) != len(self.channels):
            raise CheckpointError(where, f"{len(channels)} channels", f"{len(self.channels)}", remedy)
        for index, (mine, theirs) in enumerate(zip(channels, self.channels, strict=True)):
            if mine != theirs:
                raise CheckpointError(where, f"{mine} as channel {index}", theirs, remedy)


def sidecar_path(weights: Path | str) -> Path:
    """Return the path of the sidecar of some weights: `model.json` beside `model.pt`."""
    return Path(weights).with_suffix(".json")


def head_path(weights: Path | str) -> Path:
    """Return the path of the interval head of some weights: `model_intervals.pt` beside `model.pt`."""
    path = Path(weights)
    return path.with_name(f"{path.stem}_intervals{path.suffix}")


def bundle_files(bundle: Path | str) -> list[Path]:
    """Return the files of a bundle that are read when it is used: the weights, what lies beside them, and the configs."""
    weights = Path(bundle) / "models" / "model.pt"
    return [weights, sidecar_path(weights), head_path(weights), *sorted((Path(bundle) / "configs").glob("*"))]


def read_sidecar(path: Path | str) -> Sidecar:
    """Read the sidecar of some weights, without comparing it with them.

    Args:
        path: The weights, `model.pt`.

    Raises:
        CheckpointError: The weights or the sidecar do not exist, or the sidecar is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(path, "trained weights", "a folder" if path.is_dir() else "no such file", TRAIN_FIRST)
    beside = sidecar_path(path)
    if not beside.is_file():
        remedy = "copy both files together; weights alone do not say how to scale intensities"
        raise CheckpointError(beside, f"the sidecar of {path.name}", "no such file", remedy)
    try:
        if beside.stat().st_size > LARGEST_SIDECAR:
            raise ValueError(f"{beside.stat().st_size >> 20} MiB")
        values = json.loads(beside.read_text(encoding="utf-8-sig"))
        stored = dict(values).get("intervals")  # older sidecars do not have it
        intervals = None if stored is None else Calibration.from_dict(stored)
        sidecar = Sidecar(**{**values, "scaling": scaling_from_dict(values["scaling"]), "intervals": intervals})
        _check_types(sidecar)
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, RecursionError, OptionError) as error:
        raise CheckpointError(beside, "a sidecar of this project", f"{error!r}", AGAIN) from error
    except CheckpointError as error:
        raise CheckpointError(beside, error.expected, error.found, error.remedy) from error
    return sidecar


def sidecar_field(path: Path | str, name: str, default: Any, stated: Any = None) -> Any:
    """Return a field of the sidecar of some weights; without weights, return what the user stated, or the default.

    The configs of bundles build the network before they load weights, and must also build it where there are no weights yet.

    Args:
        path: The weights, `model.pt`.
        name: Name of the field.
        default: Value where there are no weights and nothing was stated.
        stated: What the user stated; None if the user stated nothing.
    """
    if Path(path).is_file():
        return getattr(read_sidecar(path), name)
    return default if stated is None else stated


def _check_types(sidecar: Sidecar) -> None:
    """Check what a dataclass does not check: the sidecar of a stranger may hold anything.

    Raises:
        TypeError: A field is of another type.
        ValueError: The stain cannot name files, or the number of constants differs from the number of channels.
        OptionError: The patch is impossible.
    """
    for name, kind in (("stain", str), ("units", str), ("sha256", str), ("channels", list), ("patch_axes", list), ("source", dict)):
        if not isinstance(getattr(sidecar, name), kind):
            raise TypeError(f"{name} is {getattr(sidecar, name)!r}")
    if not STAIN.fullmatch(sidecar.stain):
        raise ValueError(f"the stain {sidecar.stain!r}")
    for name, least in (("residual_blocks", 0), ("features", 1), ("patch_radius", 1)):
        value = getattr(sidecar, name)
        if type(value) is not int or value < least:
            raise TypeError(f"{name} is {value!r}")
    if not sidecar.channels or not all(isinstance(channel, str) for channel in sidecar.channels):
        raise TypeError("channels are not names")
    if sidecar.parent is not None and not isinstance(sidecar.parent, dict):
        raise TypeError(f"parent is {sidecar.parent!r}")
    _ = sidecar.patch
    sidecar.scaling.check_channels(len(sidecar.channels))
