"""The vocabulary of channels: name, order, b-value and direction of every MR image that a network takes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from mrh_monai.errors import OptionError, SubjectError

# Effective b-value in s/mm^2 and gradient direction (x, y, z) of each volume of the two shells, from the ParaVision
# `method` files published with MRH-Net (PVM_DwEffBval, PVM_DwDir normalised to length 1). The files' names say 2000
# and 5000, the effective values are near 1900 and 4800; an unweighted volume still sees 43.5 from the imaging gradients.
SHELL_2000 = (
    (43.5, 0.0000, 0.0000, 0.0000),
    (43.5, 0.0000, 0.0000, 0.0000),
    (1914.9, 0.2253, 0.0476, 0.9731),
    (1902.9, -0.2618, 0.1776, 0.9486),
    (1911.0, -0.1140, -0.3178, 0.9413),
    (1900.4, 0.3380, -0.3739, 0.8637),
    (1900.4, 0.2475, 0.4635, 0.8508),
    (1901.2, -0.1878, 0.5846, 0.7893),
    (1903.5, -0.5346, -0.1736, 0.8271),
    (1900.3, -0.4548, -0.5965, 0.6613),
    (1915.1, 0.0281, -0.7133, 0.7003),
    (1900.3, 0.7059, -0.2119, 0.6759),
    (1900.3, 0.6561, 0.2297, 0.7189),
    (1912.6, 0.0922, 0.8448, 0.5272),
    (1900.3, -0.5537, 0.5995, 0.5779),
    (1900.3, -0.7272, 0.2043, 0.6553),
    (1900.2, -0.8326, -0.2327, 0.5026),
    (1914.3, 0.0583, -0.9445, 0.3233),
    (1900.2, 0.5156, -0.6605, 0.5458),
    (1914.4, 0.9445, -0.0537, 0.3241),
    (1900.1, 0.8567, 0.4191, 0.3008),
    (1900.2, 0.5212, 0.6616, 0.5391),
    (1900.1, -0.3009, 0.9092, 0.2876),
    (1904.1, -0.7231, 0.6701, 0.1677),
    (1900.1, -0.9372, 0.2659, 0.2255),
    (1900.1, -0.7850, -0.5833, 0.2086),
    (1900.1, -0.4027, -0.8586, 0.3171),
    (1906.2, 0.4583, -0.8755, 0.1530),
    (1900.1, 0.8402, -0.4883, 0.2359),
    (1920.7, 0.9863, 0.1501, -0.0684),
    (1909.9, 0.5746, 0.8093, 0.1219),
    (1920.9, 0.1346, 0.9867, 0.0910),
)
SHELL_5000 = (
    (43.5, 0.0000, 0.0000, 0.0000),
    (43.5, 0.0000, 0.0000, 0.0000),
    (4814.3, 0.2310, 0.0448, 0.9719),
    (4800.7, -0.2538, 0.1804, 0.9503),
    (4801.5, -0.1182, -0.3137, 0.9421),
    (4800.6, 0.3363, -0.3791, 0.8621),
    (4800.6, 0.2433, 0.4616, 0.8531),
    (4800.6, -0.1868, 0.5881, 0.7869),
    (4800.6, -0.5272, -0.1685, 0.8329),
    (4800.5, -0.4638, -0.5917, 0.6594),
    (4815.3, 0.0130, -0.7126, 0.7015),
    (4800.5, 0.7077, -0.2197, 0.6715),
    (4800.5, 0.6591, 0.2214, 0.7187),
    (4805.2, 0.1021, 0.8442, 0.5262),
    (4800.4, -0.5593, 0.6000, 0.5720),
    (4800.5, -0.7260, 0.2153, 0.6532),
    (4800.4, -0.8370, -0.2329, 0.4951),
    (4811.5, 0.0663, -0.9429, 0.3263),
    (4800.4, 0.5065, -0.6686, 0.5445),
    (4813.5, 0.9435, -0.0484, 0.3278),
    (4800.2, 0.8547, 0.4260, 0.2968),
    (4800.4, 0.5264, 0.6564, 0.5404),
    (4800.2, -0.2999, 0.9080, 0.2927),
    (4800.1, -0.7295, 0.6634, 0.1666),
    (4800.2, -0.9381, 0.2634, 0.2249),
    (4800.2, -0.7850, -0.5814, 0.2138),
    (4800.2, -0.3930, -0.8619, 0.3205),
    (4800.1, 0.4628, -0.8745, 0.1449),
    (4800.2, 0.8401, -0.4844, 0.2441),
    (4810.4, 0.9841, 0.1605, -0.0757),
    (4800.1, 0.5688, 0.8123, 0.1288),
    (4807.4, 0.1293, 0.9875, 0.0903),
)
UNWEIGHTED_BELOW = 100.0  # s/mm^2
# Minutes of scanning, from the same files (PVM_ScanTime, for a shell over its 32 repetitions): TR 320 ms x 2 averages x 936 shots a
# diffusion volume; TR 800 ms x 2 averages x 2,340 shots each of the three others.
DWI_MINUTES, OTHER_MINUTES = 9.984, 62.4
SHELL_GAP = 1.1  # ratio of b-values from which on two are of different shells
T2, MT_ON, MT_OFF = "t2", "mt_on", "mt_off"


@dataclass(frozen=True)
class Channel:
    """One MR image.

    Attributes:
        name: Unique within a protocol; by it channels of two networks are matched.
        b_value: Effective b-value in s/mm^2; None where the image is not diffusion-weighted.
        direction: Unit gradient direction (x, y, z); None without one.
        minutes: Scan time; None where unknown.
        contrast: What channels that are alike share, see `MRProtocol.weights`; None to tell by b-value and direction.

    Raises:
        OptionError: One of them cannot be.
    """

    name: str
    b_value: float | None = None
    direction: tuple[float, float, float] | None = None
    minutes: float | None = None
    contrast: str | None = None

    def __post_init__(self) -> None:
        def number(value: object) -> bool:
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

        for key, value, expected, fits in (
            ("name", self.name, "a line of text without quotes", _is_line(self.name)),
            ("contrast", self.contrast, "a line of text without quotes", self.contrast is None or _is_line(self.contrast)),
            ("b_value", self.b_value, "a number of s/mm^2", self.b_value is None or (number(self.b_value) and self.b_value >= 0)),
            ("minutes", self.minutes, "a number above 0", self.minutes is None or (number(self.minutes) and self.minutes > 0)),
            (
                "direction",
                self.direction,
                "three numbers, together of length 1",
                self.direction is None
                or (len(self.direction) == 3 and all(map(number, self.direction)) and abs(math.hypot(*self.direction) - 1) < 0.02),
            ),
        ):
            if not fits:
                raise OptionError(f"channel {self.name!r}, {key}", expected, repr(value), "mend the channel")

    @property
    def description(self) -> str:
        """The name with its b-value, for `metadata.json` and reports."""
        return self.name if self.b_value is None else f"{self.name}, b = {self.b_value:g} s/mm^2"


@dataclass(frozen=True)
class MRProtocol:
    """The channels of a network's input, in order.

    Raises:
        OptionError: There is no channel, or two have one name.
    """

    channels: tuple[Channel, ...]

    def __post_init__(self) -> None:
        names = self.names
        if not names:
            raise OptionError("protocol", "at least one channel", "none", "name the MR images of a subject in their order")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise OptionError("protocol", "a unique name for every channel", f"{twice[0]!r} twice", "rename one of them")

    def __len__(self) -> int:
        return len(self.channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self.channels)

    @property
    def names(self) -> list[str]:
        """The channels' names, in order."""
        return [channel.name for channel in self.channels]

    @property
    def weights(self) -> list[float]:
        """What each channel is scaled to, so that a contrast counts as one image, of however many images it is made.

        The directions of a diffusion shell differ little; thirty of them would drown the one image with magnetization transfer. A channel
        gets one over the square root of how many there are of its kind: of its `contrast` where one is named; else unweighted volumes,
        directions of one shell, or itself alone.
        """
        shells: dict[float, float] = {}
        lowest = last = 0.0
        for b_value in sorted(c.b_value for c in self if c.b_value is not None):
            if b_value > last * SHELL_GAP:
                lowest = b_value
            shells[b_value] = lowest
            last = b_value
        kinds: list[object] = []
        for channel in self:
            if channel.contrast is not None:
                kinds.append(("contrast", channel.contrast))
            elif channel.b_value is not None and channel.b_value < UNWEIGHTED_BELOW:
                kinds.append("unweighted")
            elif channel.b_value is not None and channel.direction is not None:
                kinds.append(shells[channel.b_value])
            else:
                kinds.append(("channel", channel.name))
        return [kinds.count(kind) ** -0.5 for kind in kinds]

    def check_count(self, found: int, where: object, files: Sequence[str] = ()) -> None:
        """Compare a subject's number of images with the protocol's.

        Raises:
            SubjectError: They differ.
        """
        if found != len(self):
            listed = f" in {', '.join(files)}" if files else ""
            span = f"{self.names[0]} to {self.names[-1]}" if len(self) > 1 else self.names[0]
            raise SubjectError(
                where,
                f"{len(self)} channels ({span})",
                f"{found}{listed}",
                "list every image of the protocol once, in its order",
            )

    @classmethod
    def from_metadata(cls, path: Path | str) -> MRProtocol:
        """Read the protocol of a bundle from the ``channels`` of its `metadata.json`.

        Raises:
            OptionError: The file is missing or has no such list.
        """
        path = Path(path)
        if not path.is_file():
            root, zipped = path.parent.parent, path.parent.parent.suffix.lower() == ".zip"
            found = (
                "a zip" if zipped and root.is_file() else f"no {path.parent.name}/{path.name} in it" if root.is_dir() else "no such folder"
            )
            remedy = "unpack it first with `mrh unpack`" if zipped else "name a bundle's root folder, such as bundles/mrh_af"
            raise OptionError(root, "a bundle folder", found, remedy)
        try:
            rows = json.loads(path.read_text())["channels"]
            return cls(tuple(channel_from(row) for row in rows))
        except OptionError as error:
            raise OptionError(f"{path}, {error.where}", error.expected, error.found, error.remedy) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OptionError(
                path, "bundle metadata with a list `channels`", f"{type(error).__name__} ({error})", "name a bundle's root folder"
            ) from error

    @classmethod
    def from_yaml(cls, path: Path | str) -> MRProtocol:
        """Read ``channels: [{name: qa}, {name: iso, b_value: 1000, direction: [1, 0, 0], minutes: 3}]``.

        Raises:
            OptionError: The file is missing or says something else.
        """
        remedy = "write `channels: [{name: qa}, {name: iso}]`, each with optional b_value, direction, minutes, contrast"
        try:
            rows = yaml.safe_load(Path(path).read_text())["channels"]
            unknown = {key for row in rows for key in row} - {"name", "b_value", "direction", "minutes", "contrast"}
            protocol = cls(tuple(channel_from(row) for row in rows))
            if unknown:
                raise ValueError(f"the keys {sorted(unknown)}")
        except OptionError as error:
            raise OptionError(f"{path}, {error.where}", error.expected, error.found, error.remedy) from error
        except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            found = " ".join(f"{type(error).__name__} ({error})".split())[:200]
            raise OptionError(path, "a YAML file with a list `channels`", found, remedy) from error
        return protocol

    def to_rows(self) -> list[dict[str, Any]]:
        """The channels as plain dicts without empty fields, for JSON and YAML."""
        return [{key: value for key, value in asdict(channel).items() if value is not None} for channel in self]


def channel_from(row: dict[str, Any]) -> Channel:
    """One channel from its plain dict: ``name`` and optional ``b_value``, ``direction``, ``minutes``, ``contrast``."""
    direction = row.get("direction")
    return Channel(
        row["name"], row.get("b_value"), None if direction is None else tuple(direction), row.get("minutes"), row.get("contrast")
    )


def _is_line(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[^\x00-\x1f\x7f\"'\\]{1,80}", value) is not None


def _shell(prefix: str, table: Sequence[tuple[float, float, float, float]]) -> list[Channel]:
    channels = []
    for index, (b_value, *direction) in enumerate(table):
        unweighted = b_value < UNWEIGHTED_BELOW
        name = f"{prefix}_{'b0' if unweighted else 'dir'}_{index + 1 if unweighted else index - 1:02d}"
        channels.append(Channel(name, b_value, None if unweighted else tuple(direction), DWI_MINUTES))  # type: ignore[arg-type]
    return channels


# Liang et al., eLife 2022;11:e72331: two diffusion shells of 2 + 30 volumes, then T2-weighted (TE 50 ms) and the pair
# with and without magnetization transfer (offset -3 kHz at 20 uT, TE 8 ms). MRH-Net's README calls the last two
# "non-MT, MT", its file name `t2MTONOFF` says on before off, and the brighter of the pair must be the one with MT off.
MRH_NET = MRProtocol(
    (
        *_shell("dwi2000", SHELL_2000),
        *_shell("dwi5000", SHELL_5000),
        *(Channel(name, minutes=OTHER_MINUTES) for name in (T2, MT_ON, MT_OFF)),
    )
)
