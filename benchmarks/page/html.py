"""Writes the page: one HTML file that refers to nothing outside.  Pure, but for reading the template."""

from __future__ import annotations

from benchmarks.page.content import page_of
from benchmarks.results import Results


def to_html(results: Results) -> str:
    """Show results as a page that opens in any browser, without a network."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Everything but the plots is escaped: names of images, hosts and programs are not ours.
    environment = Environment(
        loader=PackageLoader("benchmarks", "page"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html.j2").render(page=page_of(results)) + "\n"
