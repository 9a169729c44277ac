"""The report of a comparison as one page: index.html with everything but the clips inside."""

from videojam.evaluation.compare.page.page import write_page

__all__ = ["write_page"]
