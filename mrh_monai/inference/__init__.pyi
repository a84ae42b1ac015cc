from .cohort import CohortOutput as CohortOutput, predict_each as predict_each, share_of_cohort as share_of_cohort
from .inferers import PatchInferer as PatchInferer, VoxelwiseInferer as VoxelwiseInferer
from .prediction import Prediction as Prediction, check_output as check_output
from .prediction_record import (
    bound_paths as bound_paths,
    check_prediction_output as check_prediction_output,
    fingerprint as fingerprint,
    input_state as input_state,
    is_finished as is_finished,
    prediction_path as prediction_path,
    read_record as read_record,
    record_path as record_path,
    recorded_bounds as recorded_bounds,
    write_record as write_record,
)
from .predictor import PredictionOptions as PredictionOptions, Predictor as Predictor, load_bundle as load_bundle, predict as predict
from .provenance import about_network as about_network, command as command, versions as versions
from .transforms import (
    InverseTargetScaled as InverseTargetScaled,
    OpenSubjectd as OpenSubjectd,
    SaveStaind as SaveStaind,
    only_item as only_item,
    prepare_subject as prepare_subject,
)
from .voxelwise import Bounds as Bounds, Computing as Computing, TrainedNetwork as TrainedNetwork, predict_volume as predict_volume
