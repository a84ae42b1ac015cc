from .brain_slices import ShownVolume as ShownVolume, side_by_side as side_by_side, three_planes as three_planes
from .channel_signals import channel_levels as channel_levels
from .displacement_arrows import (
    DisplacedStain as DisplacedStain,
    displacement_histogram as displacement_histogram,
    stain_arrows as stain_arrows,
)
from .experiment_plots import bars as bars, coloured_points as coloured_points, curves as curves
from .score_plots import bland_altman as bland_altman, predicted_against_true as predicted_against_true, roc_curves as roc_curves
from .training_history import best_epoch as best_epoch, training_curve as training_curve
