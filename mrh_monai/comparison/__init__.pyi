from .compared_models import NETWORK as NETWORK
from .comparison import Comparison as Comparison, ComparisonOptions as ComparisonOptions, compare as compare
from .comparison_tables import (
    COMPARISON_FILES as COMPARISON_FILES,
    comparison_table as comparison_table,
    regions_table as regions_table,
    write_comparison as write_comparison,
)
