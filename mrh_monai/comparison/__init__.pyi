from .compared_models import NETWORK as NETWORK
from .comparison import Comparison as Comparison, ComparisonOptions as ComparisonOptions, compare as compare
from .comparison_tables import (
    check_comparison_output as check_comparison_output,
    comparison_table as comparison_table,
    regions_table as regions_table,
    write_comparison as write_comparison,
)
