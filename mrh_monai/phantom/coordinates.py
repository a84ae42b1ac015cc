"""Coordinates of the voxels in a subject's own brain, and soft regions in them.

The coordinates are the same whatever the grid: x in [-1.5, 1.5] runs from left to right, a in [0, 1] from the olfactory bulb to the
hindbrain, z in [-1, 1] from ventral to dorsal. Every boundary is an inequality between smooth functions of them, so that one smooth
displacement of the coordinates deforms all of a subject's brain.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

HALF_WIDTH, HALF_HEIGHT = 1.5, 1.0
OUTLINE_AT = (0.0, 0.10, 0.16, 0.28, 0.45, 0.62, 0.75, 0.86, 1.0)
OUTLINE_WIDTH = (0.62, 0.80, 0.95, 1.18, 1.36, 1.40, 1.32, 1.20, 0.95)
OUTLINE_HEIGHT = (0.52, 0.62, 0.72, 0.82, 0.88, 0.90, 0.88, 0.84, 0.70)
OUTLINE_POWER = 2.5  # A coronal section, with its flat base and full sides, is between an ellipse and a box.
Value = float | np.ndarray


@dataclass
class Place:
    """Coordinates of N voxels, relative to the brain and to its surface; all arrays are (N,) float32.

    Attributes:
        x: Coordinate from left to right, in [-1.5, 1.5].
        a: Coordinate from anterior (0) to posterior (1).
        z: Coordinate from ventral to dorsal, in [-1, 1].
        edge: Half-width of a boundary, in the units of x and z: borders of tissue are as sharp as the voxels can show them.
        lateral: Distance from the midline, the absolute value of x.
        radius: Relative distance from the brain's centre line; the brain is where it is below 1.
        depth: Distance below the brain's surface along the ray from the centre, in the units of x and z.
        angle: Direction of that ray in the coronal plane, in radians: 0 is lateral, pi / 2 dorsal.
    """

    x: np.ndarray
    a: np.ndarray
    z: np.ndarray
    edge: float
    lateral: np.ndarray = field(init=False)
    radius: np.ndarray = field(init=False)
    depth: np.ndarray = field(init=False)
    angle: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.lateral = np.abs(self.x)
        width, height = np.interp(self.a, OUTLINE_AT, OUTLINE_WIDTH), np.interp(self.a, OUTLINE_AT, OUTLINE_HEIGHT)
        power = np.float32(OUTLINE_POWER)
        radius = (self.lateral / width) ** power + (np.abs(self.z) / height) ** power
        radius = radius ** (1 / power)
        # The longitudinal fissure. Between the olfactory bulbs it reaches the base of the brain.
        fissure = np.exp(-((self.x / 0.07) ** 2)) * np.maximum(0.16 * self.above(self.z, 0.3, 0.08), 0.8 * self.above(0.12, self.a, 0.02))
        self.radius = (radius + fissure).astype(np.float32)
        # The surface is star-shaped: along a ray from the centre, the radius grows in proportion to the distance.
        self.depth = ((1 - self.radius) * np.hypot(self.x, self.z) / np.maximum(radius, 0.05)).astype(np.float32)
        self.angle = np.arctan2(self.z, self.lateral)

    def take(self, inside: np.ndarray) -> Place:
        """Return the coordinates of the voxels where ``inside``, bool (N,), is True."""
        return Place(self.x[inside], self.a[inside], self.z[inside], self.edge)

    def above(self, value: Value, bound: Value, edge: float | None = None) -> np.ndarray:
        """Return a soft step in [0, 1], 0.5 where ``value`` equals ``bound``, and 1 far above it."""
        step = np.asarray(value - bound, np.float32) / np.float32(self.edge if edge is None else edge)
        soft: np.ndarray = 0.5 + 0.5 * np.tanh(step)
        return soft

    def between(self, value: Value, low: Value, high: Value, edge: float | None = None) -> np.ndarray:
        """Return a soft band in [0, 1], 1 where ``low`` < ``value`` < ``high``."""
        band: np.ndarray = self.above(value, low, edge) * self.above(high, value, edge)
        return band

    def slices(self, start: float, stop: float) -> np.ndarray:
        """Return a soft band in [0, 1] along the anterior-posterior axis."""
        return self.between(self.a, start, stop, 0.02)

    def ellipse(self, x: Value, z: Value, half_x: float, half_z: float) -> np.ndarray:
        """Return the elliptic radius around (x, z) and (-x, z), one in each hemisphere; it is 1 on the ellipse."""
        radius: np.ndarray = np.hypot((self.lateral - x) / half_x, (self.z - z) / half_z)
        return radius

    def disc(self, x: Value, z: Value, half_x: float, half_z: float) -> np.ndarray:
        """Return a soft ellipse in [0, 1] around (x, z) and (-x, z), one in each hemisphere; it is 1 inside."""
        return self.above(1.0, self.ellipse(x, z, half_x, half_z), self.edge / min(half_x, half_z))


def smooth_field(rng: np.random.Generator, shape: tuple[int, int, int], cycles: float, waves: int = 48) -> np.ndarray:
    """Return a smooth random field: a sum of plane waves of random direction, phase and frequency.

    Args:
        rng: Source of the random numbers.
        shape: (X, Y, Z).
        cycles: Highest number of periods across an axis.
        waves: Number of waves.

    Returns:
        (X * Y * Z,) float32, x running fastest; its mean is near 0 and its variance near 1.
    """
    frequency = rng.uniform(-cycles, cycles, (3, waves))
    phase = rng.uniform(0, 2 * np.pi, waves)
    # A plane wave is a product of one factor for each axis, so that the sum over waves is one matrix product.
    along = [np.exp(2j * np.pi * np.outer((np.arange(n) + 0.5) / n, f)).astype(np.complex64) for n, f in zip(shape, frequency, strict=True)]
    planes = (along[2][:, None] * along[1] * np.exp(1j * phase)).reshape(-1, waves).astype(np.complex64)
    values: np.ndarray = (planes @ along[0].T).real.ravel() * np.float32(np.sqrt(2 / waves))
    return values


def make_place(rng: np.random.Generator, shape: tuple[int, int, int]) -> Place:
    """Return the coordinates of every voxel of a grid in a subject's own, smoothly deformed brain.

    Args:
        rng: Source of the random numbers that make this brain differ from others.
        shape: (X, Y, Z).

    Returns:
        Coordinates of X * Y * Z voxels, x running fastest.
    """
    x, a, z = ((np.arange(n, dtype=np.float32) + np.float32(0.5)) / n for n in shape)
    grid = np.meshgrid(z, a, x, indexing="ij")
    z, a, x = (axis.ravel() for axis in grid)
    size = rng.normal(1, 0.02, 2).astype(np.float32)
    shift = [smooth_field(rng, shape, 1.6, 12) * np.float32(amount) for amount in (0.035, 0.012, 0.03)]
    x = (2 * x - 1) * np.float32(HALF_WIDTH) * size[0] + shift[0]
    z = (2 * z - 1) * np.float32(HALF_HEIGHT) * size[1] + shift[2]
    edge = max(2 * HALF_WIDTH / shape[0], 2 * HALF_HEIGHT / shape[2]) * 0.6
    return Place(x, a + shift[1], z, edge)
