"""Registration of a predicted stain onto the stain of one subject."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import huber_loss

from mrh_monai.alignment.displacement import PLANE, ControlGrid, bending_energy, displaced, inverse, sampled
from mrh_monai.alignment.moved_stain import whole_stain
from mrh_monai.data import SubjectInMemory

CONTROL_POINTS_MM = 0.5
BENDING, SIZE = 0.1, 0.3  # weights of bending and of size, for control points in units of the expected displacement
CORRELATED = 2.7  # length of the cube whose voxels count as one, in units of the smoothing, because errors are smoothed too
LARGEST_ERROR = 2.0  # in robust standard deviations; a larger error counts linearly, as Huber proposed
WINDOW = 6.0  # standard deviation in voxels of the window in which the level of the stain is fitted
LEAST_SUPPORT = 0.3  # share of the smoothing window that must lie in the brain, relative to the largest
HALVES, ITERATIONS = 2, 6  # of L-BFGS, with the level fitted before each half
FINEST, COARSE = 1.0, 4.0  # smoothing, in voxels of the coronal plane, between which structure is fine
TRUNCATED = 3.0  # standard deviations at which a window ends


class Registration:
    """The displacement of one stain, found step by step.

    The prediction is moved onto the stain, which stays where it is, and the displacement is then inverted. The other way round, a stain
    could be squeezed where it disagrees, so that fewer of its voxels count.

    Args:
        subject: Subject with a target.
        expected_mm: Displacement that is expected, in mm. A much larger one costs more than it explains.

    Attributes:
        control: (2, I, J, K) control points of the displacement of the prediction, in mm.
        found: (2, X, Y, Z) displacement in mm along x and z: the stain of a voxel lies so far from it.
    """

    def __init__(self, subject: SubjectInMemory, expected_mm: float):
        shape = subject.mask.shape
        self.subject, self.expected_mm = subject, expected_mm
        self.stain = whole_stain(subject)
        self.grid = ControlGrid(shape, subject.spacing, CONTROL_POINTS_MM)
        self.control = torch.zeros(2, *self.grid.shape)
        self.found = torch.zeros(2, *shape)

    @property
    def size_mm(self) -> float:
        """Root mean square of the displacement in the mask, in mm."""
        return float(self.found.square().sum(0)[torch.from_numpy(self.subject.mask)].mean().sqrt())

    def refine(self, prediction: np.ndarray, smoothing: float) -> None:
        """Improve the displacement.

        Args:
            prediction: (X, Y, Z) predicted stain inside the mask.
            smoothing: Standard deviation in voxels of the coronal plane by which prediction and stain are both smoothed. Small structures
                only count after the large ones have been brought together.
        """
        subject = self.subject
        moving = np.stack(smoothed(prediction, subject.mask, _sigma(subject, smoothing)))
        fixed = smoothed(self.stain, subject.scored, _sigma(subject, smoothing))[0]
        match = _Match(subject, self.grid, moving, fixed, smoothing)
        control = self.control.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([control], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe")
        for _ in range(HALVES):
            match.fit_level(control.detach())

            def cost() -> float:
                optimizer.zero_grad()
                points = control / self.expected_mm
                total = match.error(control) + BENDING * bending_energy(points) + SIZE * points.square().sum()
                torch.autograd.backward(total)
                return float(total.detach())

            optimizer.step(cost)  # type: ignore[no-untyped-call]  # PyTorch has no types here
        self.control = control.detach()
        self.found = stain_displacement(self.control, subject)


def stain_displacement(control: torch.Tensor, subject: SubjectInMemory) -> torch.Tensor:
    """Return how far from each voxel its stain lies, (2, X, Y, Z) along x and z in mm, if the prediction is displaced by `control`.

    Args:
        control: (2, I, J, K) control points of the displacement of the prediction, in mm.
        subject: Subject of the stain.
    """
    return inverse(ControlGrid(subject.mask.shape, subject.spacing, CONTROL_POINTS_MM).dense(control), subject.spacing)


class _Match:
    """How well a prediction that is moved agrees with a stain, on a lattice of voxels."""

    def __init__(self, subject: SubjectInMemory, grid: ControlGrid, moving: np.ndarray, fixed: np.ndarray, smoothing: float):
        self.spacing, self.grid = subject.spacing, grid
        shape = subject.mask.shape
        step = 2 if smoothing < 2 else 3  # a lattice; smoothed volumes hardly change from voxel to voxel
        used = [np.asarray(subject.scored.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        steps = [step if each.sum() > 3 * step and 2 * step * each[::step].sum() >= each.sum() else 1 for each in used]
        self.lattice = (slice(None, None, steps[0]), slice(None, None, steps[1]), slice(None, None, steps[2]))
        self.inside = torch.from_numpy(subject.scored[self.lattice])
        self.moving = torch.from_numpy(moving)
        self.fixed = torch.from_numpy(fixed[self.lattice])[self.inside]
        axes = [torch.arange(float(count))[part] for count, part in zip(shape, self.lattice, strict=True)]
        self.places = torch.stack(torch.meshgrid(*axes, indexing="ij"))[:, self.inside]
        self.window = [sigma / step for sigma, step in zip(_sigma(subject, WINDOW), steps, strict=True)]
        # The voxels of the lattice stand for all of them. Below a smoothing of one voxel, errors are no more independent.
        self.weight = float(
            np.prod(steps) / np.clip(_sigma(subject, CORRELATED * max(smoothing, 1.0)), 1, [each.sum() for each in used]).prod()
        )

    def moved(self, control: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the prediction at the displaced voxels, and the share of the smoothing window that lay in the brain there."""
        displacement = self.grid.dense(control, self.lattice)[:, self.inside]
        values, support = sampled(self.moving, displaced(self.places, displacement, self.spacing))
        return values, support

    @torch.no_grad()
    def fit_level(self, control: torch.Tensor) -> None:
        """Fit the gain of the prediction everywhere and its offset around each voxel, and the size of the error.

        The offset is local, because a predictor of single voxels is a little too bright or dark in whole structures. At their edges this
        would pull the displacement of all subjects into one direction.
        """
        prediction, self.support = self.moved(control)
        known = self.support >= min(LEAST_SUPPORT, float(self.support.max()))
        x, y = prediction - prediction[known].mean(), self.fixed - self.fixed[known].mean()
        variance = x[known].square().mean().clamp_min(1e-12)
        gain = (x[known] * y[known]).mean() / variance
        sums = [self._windowed(values * known) for values in (torch.ones_like(x), x, y, x * x, x * y)]
        count = sums[0].clamp_min(1e-3)
        mean_x, mean_y, mean_xx, mean_xy = (each / count for each in sums[1:])
        # Where the prediction hardly varies, the gain is that of the whole brain.
        self.gain = (mean_xy - mean_x * mean_y + variance * gain) / ((mean_xx - mean_x.square()).clamp_min(0) + variance)
        self.offset = mean_y - self.gain * mean_x + self.fixed[known].mean() - self.gain * prediction[known].mean()
        error = (self.fixed - self.offset - self.gain * prediction)[known]
        self.size = 1.4826 * float(error.abs().median()) + 1e-9

    def error(self, control: torch.Tensor) -> torch.Tensor:
        """Return the sum of the errors, in units of their size, with the level that was fitted last."""
        prediction, _ = self.moved(control)
        error = (self.fixed - self.offset - self.gain * prediction) / self.size
        # The support is that of the last fit: otherwise voxels could escape from the sum by moving out of the brain.
        each = huber_loss(error, torch.zeros_like(error), reduction="none", delta=LARGEST_ERROR)
        return self.weight * (each * self.support).sum()

    def _windowed(self, values: torch.Tensor) -> torch.Tensor:
        volume = torch.zeros(self.inside.shape)
        volume[self.inside] = values
        blurred = gaussian_filter(volume.numpy(), self.window, truncate=TRUNCATED, mode="constant")
        return torch.from_numpy(blurred)[self.inside]


def smoothed(values: np.ndarray, mask: np.ndarray, sigma: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of a volume in Gaussian windows, over the voxels of a mask only.

    Args:
        values: (X, Y, Z) float32.
        mask: (X, Y, Z) bool.
        sigma: Standard deviations along x, y and z, in voxels.

    Returns:
        The means (X, Y, Z) float32, that of the whole mask where no voxel of it is near, and the share of each window that lies in the
        mask, relative to the largest such share, which is small in a volume of few slices.
    """
    inside = gaussian_filter(mask.astype(np.float32), sigma, truncate=TRUNCATED, mode="constant")
    summed = gaussian_filter(np.where(mask, values, 0).astype(np.float32), sigma, truncate=TRUNCATED, mode="constant")
    reached = inside > 1e-6
    return np.where(reached, summed / np.where(reached, inside, 1), values[mask].mean()).astype(np.float32), inside / inside.max()


def agreement(prediction: np.ndarray, stain: np.ndarray, known: np.ndarray, subject: SubjectInMemory) -> float:
    """Return the squared correlation of the fine structure of a prediction with that of a stain; 0 where one of them has none.

    Fine structure is what a smoothing by one voxel leaves and a smoothing by four removes. Coarse structure agrees more and more with
    whatever is registered onto it.

    Args:
        prediction: (X, Y, Z) predicted stain.
        stain: (X, Y, Z) stain.
        known: (X, Y, Z) bool, voxels at which both are known.
        subject: Subject whose voxels these are.
    """

    def fine(values: np.ndarray) -> np.ndarray:
        near, wide = (smoothed(values, known, _sigma(subject, voxels))[0][known] for voxels in (FINEST, COARSE))
        return np.asarray(near - wide)

    pair = fine(prediction), fine(stain)
    return float(np.corrcoef(*pair)[0, 1]) ** 2 if min(each.std() for each in pair) > 0 else 0.0


def _sigma(subject: SubjectInMemory, voxels: float) -> list[float]:
    """Return standard deviations along x, y and z, in voxels, that are equal in mm."""
    edge = min(subject.spacing[axis] for axis in PLANE)
    return [voxels * edge / length for length in subject.spacing]
