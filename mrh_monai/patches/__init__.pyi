from .augmentation import Augmentation as Augmentation
from .patch_dataset import PatchBatches as PatchBatches, PatchDataset as PatchDataset, PatchSource as PatchSource
from .sampling import hold_out as hold_out, sample_centres as sample_centres
