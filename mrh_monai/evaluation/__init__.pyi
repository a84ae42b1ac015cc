from .bootstrap import (
    BLOCK_MM as BLOCK_MM,
    DRAWS as DRAWS,
    LEVEL as LEVEL,
    BlockSums as BlockSums,
    ResamplingUnit as ResamplingUnit,
    blocks_of as blocks_of,
    check_unit as check_unit,
    interval as interval,
    intervals as intervals,
    resample as resample,
    sum_blocks as sum_blocks,
)
from .detection import Side as Side, auc as auc, check_side as check_side, roc as roc, structures as structures
from .prediction_evaluation import evaluate as evaluate
from .regions import LabelFiles as LabelFiles, Regions as Regions, read_regions as read_regions
from .score_handler import ScoreSubjects as ScoreSubjects
from .scores import (
    COMPARED_SCORES as COMPARED_SCORES,
    HEADLINE_SCORES as HEADLINE_SCORES,
    SCORES as SCORES,
    Score as Score,
    StainPair as StainPair,
    r2 as r2,
    rank as rank,
    rmse as rmse,
    score as score,
    stain_range as stain_range,
)
from .structural_similarity import ssim as ssim, ssim_map as ssim_map
