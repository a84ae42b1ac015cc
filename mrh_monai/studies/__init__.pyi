from .contribution_tables import contribution_table as contribution_table, write_contribution as write_contribution
from .experiments import run_study as run_study
from .image_contribution import (
    check_noise as check_noise,
    contribution as contribution,
    groups_of_images as groups_of_images,
    single_images as single_images,
)
from .image_subsets import check_counts as check_counts, retrain_top as retrain_top
from .study_networks import load_study as load_study
