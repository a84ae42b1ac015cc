from .intensity_scaling import FAR as FAR, Coefficients as Coefficients, Scaling as Scaling
from .published_scaling import PublishedScaling as PublishedScaling
from .robust_scaling import LEVEL_PERCENTILE as LEVEL_PERCENTILE, RobustScaling as RobustScaling, robust_level as robust_level
from .scaling_modes import SCALING_MODES as SCALING_MODES, scaling_from_dict as scaling_from_dict, scaling_mode as scaling_mode
