from . import (
    alignment as alignment,
    bundle as bundle,
    comparison as comparison,
    contributions as contributions,
    data as data,
    devices as devices,
    distributed as distributed,
    errors as errors,
    evaluation as evaluation,
    export as export,
    figures as figures,
    inference as inference,
    intervals as intervals,
    io as io,
    maps as maps,
    matlab as matlab,
    network as network,
    patch_geometry as patch_geometry,
    patches as patches,
    phantom as phantom,
    protocol as protocol,
    report as report,
    scaling as scaling,
    sharing as sharing,
    studies as studies,
    subjects as subjects,
    training as training,
)
from .bundle import TrainingResult as TrainingResult, train as train
from .comparison import Comparison as Comparison, ComparisonOptions as ComparisonOptions, compare as compare
from .contributions import (
    ContributionResult as ContributionResult,
    NoiseOptions as NoiseOptions,
    RetrainingOptions as RetrainingOptions,
    contribution as contribution,
)
from .errors import (
    BundleError as BundleError,
    CheckpointError as CheckpointError,
    DatalistError as DatalistError,
    DownloadError as DownloadError,
    MatFileError as MatFileError,
    MRHError as MRHError,
    MRHWarning as MRHWarning,
    OptionError as OptionError,
    OutputError as OutputError,
    SubjectError as SubjectError,
)
from .evaluation import LabelFiles as LabelFiles, evaluate as evaluate, score as score
from .inference import (
    Prediction as Prediction,
    PredictionOptions as PredictionOptions,
    Predictor as Predictor,
    load_bundle as load_bundle,
    predict as predict,
)
from .maps import ParameterMaps as ParameterMaps, parameter_maps as parameter_maps
from .network import MRHNet as MRHNet
from .phantom import make_phantom as make_phantom
from .protocol import MRH_NET as MRH_NET, Channel as Channel, MRProtocol as MRProtocol
from .subjects import Datalist as Datalist, Layout as Layout, Subject as Subject, SubjectArrays as SubjectArrays

__version__: str
