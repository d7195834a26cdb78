"""The report of a finished run: one page for people, one summary for machines."""

from spavl.report.write import ReportPaths, write_report

__all__ = ["ReportPaths", "write_report"]
