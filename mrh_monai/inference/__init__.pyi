from .inferers import PatchInferer as PatchInferer, VoxelwiseInferer as VoxelwiseInferer
from .prediction_record import (
    fingerprint as fingerprint,
    forget as forget,
    made_of as made_of,
    predict_each as predict_each,
    prediction_path as prediction_path,
    share_of_cohort as share_of_cohort,
    write_record as write_record,
)
from .provenance import about_files as about_files, about_network as about_network, command as command, versions as versions
from .transforms import (
    InverseTargetScaled as InverseTargetScaled,
    OpenSubjectd as OpenSubjectd,
    SaveStaind as SaveStaind,
    only_item as only_item,
    prepare_subject as prepare_subject,
)
from .voxelwise import predict_volume as predict_volume
