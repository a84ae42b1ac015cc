from .experiments import StudyOptions as StudyOptions, run_study as run_study
from .study_networks import (
    StudyData as StudyData,
    TrainingEffort as TrainingEffort,
    load_study_data as load_study_data,
    score_study_network as score_study_network,
    train_study_network as train_study_network,
)
