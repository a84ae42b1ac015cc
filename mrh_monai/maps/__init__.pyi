from .map_fits import MapPlan as MapPlan, parameter_maps as parameter_maps, plan_maps as plan_maps, write_maps as write_maps
