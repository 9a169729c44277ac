"""The report of a comparison as one page: index.html with everything but the clips inside."""

from videojam.evaluation.report.comparison_page.page import write_page

__all__ = ["write_page"]
