from .digital_brain import STAIN_FILES as STAIN_FILES, make_subject as make_subject, write_phantom as write_phantom
