from .gradient_files import read_gradients as read_gradients
from .gradient_table import GradientTable as GradientTable
from .map_plan import MapPlan as MapPlan, fit_maps as fit_maps, plan_maps as plan_maps
from .map_volumes import ParameterMaps as ParameterMaps, parameter_maps as parameter_maps, prepare_maps as prepare_maps
