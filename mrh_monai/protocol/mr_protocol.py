"""The MR images that a network takes as input, in their order, and which of them are alike."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from mrh_monai.errors import OptionError, SubjectError, cause_in_words
from mrh_monai.protocol.channel import FIELDS, Channel, shells_of

GroupKind = Literal["contrast", "unweighted", "shell", "single"]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of one contrast.

    Attributes:
        name: The contrast's name: that of the channels' ``contrast``, ``unweighted``, ``b = 1900`` for a shell, or a single channel's name.
        kind: ``contrast`` (named by the user), ``unweighted`` (volumes of diffusion scans), ``shell``, or ``single``.
        indices: Places of the channels in the protocol, counted from 0, ascending.
    """

    name: str
    kind: GroupKind
    indices: tuple[int, ...]


@dataclass(frozen=True)
class MRProtocol:
    """The channels of a network's input, in order.

    Attributes:
        channels: One channel for each MR image.

    Raises:
        OptionError: There is no channel, or two channels have the same name.

    Example:
        >>> protocol = MRProtocol((Channel("b0", b_value=0), Channel("x", 1000, (1, 0, 0)), Channel("y", 1000, (0, 1, 0)), Channel("t2")))
        >>> [(group.name, group.indices) for group in protocol.groups]
        [('unweighted', (0,)), ('b = 1000', (1, 2)), ('t2', (3,))]
    """

    channels: tuple[Channel, ...]

    def __post_init__(self) -> None:
        wrong = next((channel for channel in self.channels if not isinstance(channel, Channel)), None)
        if wrong is not None:
            raise OptionError("protocol", "channels", f"a {type(wrong).__name__}", "give objects of the class Channel")
        names = self.names
        if not names:
            remedy = "list the MR images of a subject in their order"
            raise OptionError("protocol", "at least one channel", "an empty list", remedy)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise OptionError("protocol", "a unique name for every channel", f"{repeated[0]!r} twice", "rename one of the two")

    def __len__(self) -> int:
        return len(self.channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self.channels)

    @property
    def names(self) -> list[str]:
        """Names of the channels, in order."""
        return [channel.name for channel in self.channels]

    @property
    def diffusion(self) -> list[int]:
        """Indices of the channels that belong to a diffusion scan, weighted or not."""
        return [index for index, channel in enumerate(self) if channel.b_value is not None]

    @property
    def unweighted(self) -> list[int]:
        """Indices of the channels of a diffusion scan that are not diffusion-weighted."""
        return [index for index in self.diffusion if self.channels[index].is_unweighted]

    @property
    def weighted(self) -> list[int]:
        """Indices of the diffusion-weighted channels."""
        return [index for index in self.diffusion if not self.channels[index].is_unweighted]

    @property
    def shells(self) -> dict[int, list[int]]:
        """Indices of the weighted channels of each shell by its nominal b-value, the lowest shell first, see `shells_of`."""
        weighted = self.weighted
        found = shells_of([self.channels[index].b_value or 0.0 for index in weighted])
        return {b_value: [weighted[place] for place in sorted(places)] for b_value, places in found.items()}

    @property
    def groups(self) -> list[ChannelGroup]:
        """The contrasts of the protocol, in the order of their first channels.

        Channels that name the same ``contrast`` are one group; so are all unweighted volumes of diffusion scans, and the directions of one
        diffusion shell. Every other channel is a group of its own.
        """
        keys: dict[int, tuple[str, GroupKind]] = {}
        directed = [index for index in self.weighted if self.channels[index].contrast is None and self.channels[index].direction]
        for b_value, shell in shells_of([self.channels[index].b_value or 0.0 for index in directed]).items():
            keys |= {directed[place]: (f"b = {b_value}", "shell") for place in shell}
        for index, channel in enumerate(self):
            if channel.contrast is not None:
                keys[index] = (channel.contrast, "contrast")
            elif channel.is_unweighted:
                keys[index] = ("unweighted", "unweighted")
            elif index not in keys:
                keys[index] = (channel.name, "single")
        found: dict[tuple[str, GroupKind], list[int]] = {}
        for index in range(len(self)):
            found.setdefault(keys[index], []).append(index)
        return [ChannelGroup(name, kind, tuple(indices)) for (name, kind), indices in found.items()]

    @property
    def weights(self) -> list[float]:
        """Standard deviation (C,) to which each channel is scaled, so that every contrast counts as one image.

        The directions of a diffusion shell differ little. Thirty of them would outweigh the one image with magnetization transfer. The
        weight of a channel is one over the square root of the number of channels in its group.
        """
        weights = [0.0] * len(self)
        for group in self.groups:
            for index in group.indices:
                weights[index] = len(group.indices) ** -0.5
        return weights

    def check_count(self, found: int, where: object, files: Sequence[str] = ()) -> None:
        """Compare the number of images of a subject with the protocol.

        Args:
            found: Number of images.
            where: Subject or file that the error names.
            files: Names of the files that hold the images.

        Raises:
            SubjectError: The numbers differ.
        """
        if found != len(self):
            listed = f" in {', '.join(files)}" if files else ""
            span = f"{self.names[0]} to {self.names[-1]}" if len(self) > 1 else self.names[0]
            expected = f"{len(self)} channels ({span})"
            raise SubjectError(where, expected, f"{found}{listed}", "list every image of the protocol once, in the order of the protocol")

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> MRProtocol:
        """Return the protocol that a list of plain dicts describes, see `Channel.from_row`, which also says what is raised."""
        return cls(tuple(Channel.from_row(row) for row in rows))

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the channels as plain dicts without empty fields, for JSON and YAML."""
        return [channel.to_row() for channel in self]

    @classmethod
    def from_bundle(cls, bundle: Path | str) -> MRProtocol:
        """Read the protocol of a bundle folder, from the ``channels`` of its `configs/metadata.json`.

        Raises:
            OptionError: The folder is not a bundle, or its metadata lists no channels.
        """
        if not isinstance(bundle, str | os.PathLike):
            raise OptionError("bundle", "the folder of a bundle", f"a {type(bundle).__name__}", "name a folder such as bundles/mrh_af")
        return cls.from_metadata(Path(bundle) / "configs" / "metadata.json")

    @classmethod
    def from_metadata(cls, path: Path | str) -> MRProtocol:
        """Read the protocol from the ``channels`` of a bundle's `metadata.json`.

        Raises:
            OptionError: The file does not exist, or lists no channels.
        """
        path = Path(path)
        if not path.is_file():
            raise _not_a_bundle(path)
        try:
            return cls.from_rows(json.loads(path.read_text(encoding="utf-8-sig"))["channels"])
        except OptionError as error:
            raise OptionError(f"{path}, {error.where}", error.expected, error.found, error.remedy) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise OptionError(
                path, "bundle metadata with a list `channels`", cause_in_words(error), "name the root folder of a bundle"
            ) from error

    @classmethod
    def from_yaml(cls, path: Path | str) -> MRProtocol:
        """Read a YAML file such as ``channels: [{name: qa}, {name: iso, b_value: 1000, direction: [1, 0, 0], minutes: 3}]``.

        Raises:
            OptionError: The file does not exist, or does not hold such a list.
        """
        remedy = "write `channels: [{name: qa}, {name: iso}]`, where each may have b_value, direction, minutes and contrast"
        try:
            rows = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))["channels"]
            unknown = {key for row in rows for key in row} - set(FIELDS)
            protocol = cls.from_rows(rows)
            if unknown:
                raise ValueError(f"the keys {sorted(unknown)}")
        except OptionError as error:
            raise OptionError(f"{path}, {error.where}", error.expected, error.found, error.remedy) from error
        except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            raise OptionError(path, "a YAML file with a list `channels`", cause_in_words(error), remedy) from error
        return protocol


def _not_a_bundle(metadata: Path) -> OptionError:
    root = metadata.parent.parent
    is_zip = root.suffix.lower() == ".zip"
    if root.is_file():
        found = "a zip file" if is_zip else "a file"
    elif root.is_dir():
        found = f"a folder without {metadata.parent.name}/{metadata.name}"
    else:
        found = "no such folder"
    remedy = "unpack the zip first with `mrh unpack`" if is_zip else "name the root folder of a bundle, such as bundles/mrh_af"
    return OptionError(root, "a bundle folder", found, remedy)
