from .page import (
    check_report_after_inference as check_report_after_inference,
    write_report as write_report,
    write_report_after_inference as write_report_after_inference,
)
