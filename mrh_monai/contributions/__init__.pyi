from .contribution_study import (
    ContributionPlan as ContributionPlan,
    ContributionResult as ContributionResult,
    RetrainingOptions as RetrainingOptions,
    contribution as contribution,
    plan_contribution as plan_contribution,
)
from .contribution_tables import (
    CONTRIBUTION_FILES as CONTRIBUTION_FILES,
    contribution_table as contribution_table,
    write_contribution as write_contribution,
)
from .image_contribution import Contribution as Contribution, NoiseOptions as NoiseOptions, perturb_images as perturb_images
