"""How the volumes of a diffusion scan were weighted: b-values, directions, and the shells that they form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrh_monai.protocol import UNWEIGHTED_BELOW, shells_of


@dataclass(frozen=True)
class GradientTable:
    """How each volume of one or more diffusion scans was weighted.

    Attributes:
        b_values: (N,) b-values in s/mm^2.
        directions: (N, 3) unit vectors (x, y, z), 0 where a volume is not weighted.
        scans: (N,) int, the scan of each volume. A shell is fitted together with the unweighted volumes of its own scan.
        source: Where the table comes from, in words.

    Example:
        >>> directions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)
        >>> table = GradientTable(np.array([0.0, 1000.0, 1000.0]), directions, np.zeros(3, int), "dwi.bval")
        >>> {b_value: members.tolist() for b_value, members in table.shells.items()}
        {1000: [False, True, True]}
    """

    b_values: np.ndarray
    directions: np.ndarray
    scans: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.b_values)

    @property
    def unweighted(self) -> np.ndarray:
        """(N,) bool: volumes with b below 100 s/mm^2. Imaging gradients alone reach 43.5 in the protocol of MRH-Net."""
        return self.b_values < UNWEIGHTED_BELOW

    @property
    def shells(self) -> dict[int, np.ndarray]:
        """The weighted volumes (N,) bool of each shell by its nominal b-value, the lowest shell first, see `shells_of`."""
        found: dict[int, np.ndarray] = {}
        for b_value, indices in shells_of(self.b_values.tolist()).items():
            found[b_value] = np.zeros(len(self), bool)
            found[b_value][indices] = True
        return found

    @property
    def nominal_b_values(self) -> np.ndarray:
        """(N,) the nominal b-value of the shell of each volume, 0 for unweighted volumes. The jitter within a shell is not information."""
        found = np.zeros(len(self))
        for b_value, members in self.shells.items():
            found[members] = b_value
        return found

    def fitted_with(self, shell: np.ndarray) -> np.ndarray:
        """Return the volumes to which a tensor of one shell is fitted.

        Args:
            shell: (N,) bool, volumes of the shell.

        Returns:
            (N,) bool: the volumes of the shell and the unweighted volumes of the same scans; all unweighted volumes where those scans have
            none.
        """
        own = self.unweighted & np.isin(self.scans, self.scans[shell])
        return np.asarray(shell | (own if own.any() else self.unweighted))
