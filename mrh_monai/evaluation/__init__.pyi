from .comparison import compare as compare
from .comparison_tables import comparison_table as comparison_table, regions_table as regions_table, write_comparison as write_comparison
from .regions import Regions as Regions, read_regions as read_regions
from .score_handler import ScoreSubjects as ScoreSubjects
from .scores import (
    as_json as as_json,
    auc as auc,
    r2 as r2,
    rmse as rmse,
    score as score,
    ssim as ssim,
    stain_range as stain_range,
    structures as structures,
)
