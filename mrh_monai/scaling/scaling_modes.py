"""The scaling modes by name. To add one, write a class in a file of its own and list it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrh_monai.errors import CheckpointError, cause_in_words, one_of
from mrh_monai.scaling.intensity_scaling import Scaling
from mrh_monai.scaling.published_scaling import PublishedScaling
from mrh_monai.scaling.robust_scaling import RobustScaling

SCALING_MODES: dict[str, type[Scaling]] = {kind.mode: kind for kind in (RobustScaling, PublishedScaling)}


def scaling_mode(name: str) -> type[Scaling]:
    """Return the class of a scaling mode.

    Args:
        name: ``robust`` or ``published``.

    Raises:
        OptionError: There is no mode of that name.

    Example:
        >>> scaling_mode("robust").description
        'one level for each subject, then constants of the training set for each channel'
    """
    one_of("scaling", name, SCALING_MODES)
    return SCALING_MODES[name]


def scaling_from_dict(values: Mapping[str, Any]) -> Scaling:
    """Return the scaling that a sidecar describes; the inverse of `Scaling.to_dict`.

    Raises:
        CheckpointError: The mode is unknown, or a constant is missing or outside its range.
    """
    try:
        if values["mode"] not in SCALING_MODES:
            raise ValueError(f"the scaling mode {values['mode']!r}")
        return SCALING_MODES[values["mode"]].from_constants(values)
    except (KeyError, TypeError, ValueError) as error:
        expected, remedy = "the constants of a trained network", "train or import the network again"
        raise CheckpointError("scaling", expected, cause_in_words(error), remedy) from error
