from .augmentation import Augmentation as Augmentation
from .patch_batches import PatchBatches as PatchBatches
from .patch_dataset import PatchDataset as PatchDataset
from .patch_source import PatchSource as PatchSource
from .sampling import SAMPLING_METHODS as SAMPLING_METHODS, hold_out as hold_out, sample_centres as sample_centres
