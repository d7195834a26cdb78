"""The report of a finished run, or of its dataset alone: one page for people, one summary for machines."""

from spavl.report.dataset_page import write_dataset_report
from spavl.report.write import ReportPaths, write_report

__all__ = ["ReportPaths", "write_dataset_report", "write_report"]
