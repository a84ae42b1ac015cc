from .config_start import bundle_root as bundle_root, refuse_scores as refuse_scores, start_config as start_config
from .option_definition import recorded_titles as recorded_titles
from .option_values import flag as flag, integers as integers, none_if_unset as none_if_unset, slices as slices
from .run_settings import CohortSettings as CohortSettings, InferenceSettings as InferenceSettings
from .running import TrainingResult as TrainingResult, train as train
from .template_rendering import SHIPPED as SHIPPED, BundleSpec as BundleSpec, render as render, shipped_settings as shipped_settings
from .training_settings import TrainingSettings as TrainingSettings
from .writing_bundles import new_bundle as new_bundle, write_shipped as write_shipped
