from .intensity_scaling import (
    LEVEL_PERCENTILE as LEVEL_PERCENTILE,
    Scaling as Scaling,
    fit_scaling as fit_scaling,
    largest_target as largest_target,
    nan_rule as nan_rule,
    robust_level as robust_level,
    training_coefficients as training_coefficients,
)
