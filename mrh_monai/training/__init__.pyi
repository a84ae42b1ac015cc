from .optimisation import (
    HalfSquaredError as HalfSquaredError,
    make_optimizer as make_optimizer,
    make_schedule as make_schedule,
    shipped_recipe as shipped_recipe,
)
from .recorder import (
    CentreScore as CentreScore,
    OnlyLoss as OnlyLoss,
    RunRecorder as RunRecorder,
    lower_is_better as lower_is_better,
    prepare as prepare,
    seed_everything as seed_everything,
)
from .training_data import TrainingData as TrainingData
from .transfer import (
    Parent as Parent,
    depth as depth,
    inherited_scaling as inherited_scaling,
    load_parent as load_parent,
    start_from as start_from,
)
