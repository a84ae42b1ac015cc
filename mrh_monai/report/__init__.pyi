from .page import after_inference as after_inference, write_report as write_report
