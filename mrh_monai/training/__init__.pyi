from .history import RunHistory as RunHistory
from .optimisation import (
    OPTIMIZERS as OPTIMIZERS,
    SCHEDULES as SCHEDULES,
    HalfSquaredError as HalfSquaredError,
    KnownLabels as KnownLabels,
    OptimizerOptions as OptimizerOptions,
    make_optimizer as make_optimizer,
    make_schedule as make_schedule,
)
from .parent import (
    Parent as Parent,
    inherited_scaling as inherited_scaling,
    load_parent as load_parent,
    number_of_residual_blocks as number_of_residual_blocks,
)
from .random_states import seed_everything as seed_everything
from .recorder import RunRecorder as RunRecorder, prepare_output as prepare_output
from .training_data import (
    ALIGNMENT as ALIGNMENT,
    ALIGNMENT_MODES as ALIGNMENT_MODES,
    AlignmentOptions as AlignmentOptions,
    SamplingOptions as SamplingOptions,
    TrainingData as TrainingData,
)
from .training_state import TrainingRun as TrainingRun
from .transfer import Start as Start, start_from_parent as start_from_parent
from .validation_score import CentreScore as CentreScore, KeepOnlyLoss as KeepOnlyLoss, lower_is_better as lower_is_better
