from .brain_slices import (
    Shown as Shown,
    channel_levels as channel_levels,
    side_by_side as side_by_side,
    three_planes as three_planes,
    training_curve as training_curve,
)
from .plots import (
    bars as bars,
    bland_altman as bland_altman,
    coloured_points as coloured_points,
    curves as curves,
    predicted_against_true as predicted_against_true,
    roc_curves as roc_curves,
)
