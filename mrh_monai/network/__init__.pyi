from .calibration import LEVEL as LEVEL, Calibration as Calibration, HeldSubject as HeldSubject
from .checkpoint import (
    is_checkpoint as is_checkpoint,
    load_checkpoint as load_checkpoint,
    load_interval_head as load_interval_head,
    load_into as load_into,
    load_network as load_network,
    load_strictly as load_strictly,
    save_checkpoint as save_checkpoint,
    save_intervals as save_intervals,
    with_intervals as with_intervals,
)
from .folded_network import centre_predictor as centre_predictor, fold as fold
from .folded_weights import WIDTH as WIDTH, forms_along as forms_along, product_weights as product_weights
from .interval_head import IntervalHead as IntervalHead, IntervalNetwork as IntervalNetwork
from .mrh_net import INITIALISATIONS as INITIALISATIONS, MRHNet as MRHNet, ResidualBlock as ResidualBlock
from .sidecar import (
    STAIN as STAIN,
    Sidecar as Sidecar,
    bundle_files as bundle_files,
    head_path as head_path,
    read_sidecar as read_sidecar,
    sidecar_field as sidecar_field,
    sidecar_path as sidecar_path,
)
