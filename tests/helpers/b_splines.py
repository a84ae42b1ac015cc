"""The cubic B-spline, and a sum of them, plainly."""

from collections.abc import Sequence

import numpy as np


def basis(distance: float) -> float:
    """The cubic B-spline, by its pieces."""
    distance = abs(distance)
    if distance < 1:
        return 2 / 3 - distance**2 + distance**3 / 2
    return (2 - distance) ** 3 / 6 if distance < 2 else 0.0


def plain_spline(points: np.ndarray, coordinates: Sequence[np.ndarray]) -> np.ndarray:
    """The sum over all control points (I, J, K) at every voxel; coordinates along each axis in distances of control points.

    The second control point of each axis lies at the coordinate 0.
    """
    weights = [np.array([[basis(place + 1 - point) for point in range(count)] for place in along])
               for along, count in zip(coordinates, points.shape, strict=True)]  # fmt: skip
    return np.asarray(np.einsum("xi,yj,zk,ijk->xyz", *weights, points))
