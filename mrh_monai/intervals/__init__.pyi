from .head_fitting import features_and_errors as features_and_errors, fit_interval_head as fit_interval_head
from .held_subjects import measure_held_subject as measure_held_subject
from .interval_data import IntervalData as IntervalData, IntervalFitter as IntervalFitter, draw_interval_data as draw_interval_data
from .recalibration import recalibrate as recalibrate
