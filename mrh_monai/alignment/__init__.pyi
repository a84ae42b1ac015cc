from .displacement import ControlGrid as ControlGrid, bending_energy as bending_energy, inverse as inverse
from .stain_alignment import Alignment as Alignment, align_stains as align_stains
