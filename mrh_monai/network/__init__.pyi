from .checkpoint import (
    STAIN as STAIN,
    Sidecar as Sidecar,
    load_checkpoint as load_checkpoint,
    load_into as load_into,
    load_network as load_network,
    load_strictly as load_strictly,
    read_sidecar as read_sidecar,
    save_checkpoint as save_checkpoint,
    sidecar_path as sidecar_path,
    stated as stated,
)
from .folded_network import centre_predictor as centre_predictor, fold as fold
from .folded_weights import WIDTH as WIDTH, forms_along as forms_along, product_weights as product_weights
from .mrh_net import MRHNet as MRHNet, ResidualBlock as ResidualBlock
