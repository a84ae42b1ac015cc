from .digital_brain import PhantomSubject as PhantomSubject, make_subject as make_subject
from .stains import STAIN_FILES as STAIN_FILES
from .writing import make_phantom as make_phantom, write_phantom as write_phantom, write_subject as write_subject
