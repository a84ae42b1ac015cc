"""The order of array axes: files may have any; inside the program, coronal slices lie along axis 1."""

from __future__ import annotations

import numpy as np

# Array axis along which coronal slices are counted.
CORONAL_AXIS = 1
# For X, Y and Z inside the program, the axis of the file that it is.
AxisOrder = tuple[int, int, int]
FILE_ORDER: AxisOrder = (0, 1, 2)


def coronal_order(axis: int) -> AxisOrder:
    """Return the order in which an axis of the file becomes the coronal one; the other two axes keep their order.

    Example:
        >>> coronal_order(2)
        (0, 2, 1)
    """
    first, last = (other for other in range(3) if other != axis)
    return first, axis, last


def inverse_order(order: AxisOrder) -> AxisOrder:
    """Return the order that undoes another.

    Example:
        >>> inverse_order((1, 0, 2)), inverse_order((2, 0, 1))
        ((1, 0, 2), (1, 2, 0))
    """
    x, y, z = np.argsort(order).tolist()
    return x, y, z


def in_order(volume: np.ndarray, order: AxisOrder) -> np.ndarray:
    """Return a volume with its first three axes in another order; nothing is copied.

    Args:
        volume: (X, Y, Z), or (X, Y, Z, C).
        order: The axis that comes first, second and third.

    Example:
        >>> in_order(np.ones((9, 8, 7, 67)), coronal_order(2)).shape
        (9, 7, 8, 67)
    """
    return volume.transpose(*order, *range(3, volume.ndim))


def affine_in_order(affine: np.ndarray, order: AxisOrder) -> np.ndarray:
    """Return the (4, 4) affine of a volume whose axes are put into another order.

    Example:
        >>> affine_in_order(np.diag([0.1, 0.2, 0.4, 1]), coronal_order(2))[:3, :3].tolist()
        [[0.1, 0.0, 0.0], [0.0, 0.0, 0.2], [0.0, 0.4, 0.0]]
    """
    return affine[:, [*order, 3]]
