"""The page of results in a real browser: it draws, in light, in dark and on paper, and no script fails."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from bench_rows import bench_results

from benchmarks.page.html import to_html

_BROWSER = (
    "chromium-headless-shell",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # whatever it asks of a network fails, and says so
    "--virtual-time-budget=5000",
)
_BUTTON = "<script>document.getElementById('scheme').click();</script></body>"


def browse(page: Path, *options: str) -> tuple[str, list[str]]:
    """What the browser prints, and what scripts and refused requests say on its console."""
    home = page.parent / "home"
    home.mkdir(exist_ok=True)
    run = subprocess.run(
        [*_BROWSER, f"--user-data-dir={home}", *options, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home)},
    )
    return run.stdout, [line for line in run.stderr.splitlines() if ":CONSOLE" in line]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(to_html(bench_results()))
    return path


def test_all_plots_are_drawn_and_no_script_fails(page: Path) -> None:
    shown, console = browse(page, "--dump-dom")
    assert console == []
    plots = re.findall(r'<figure data-plot="([^"]*)">(.*?)</figure>', shown, re.DOTALL)
    assert len(plots) == 8
    for key, plot in plots:
        assert plot.count("<path") > 5, key
    assert 'id="scheme">' in shown  # a script has taken "hidden" away


def test_the_browser_tells_of_a_script_that_fails(page: Path) -> None:
    """The check above can fail."""
    page.write_text(page.read_text().replace("</body>", "<script>null.x</script></body>"))
    assert "Uncaught TypeError" in browse(page, "--dump-dom")[1][0]


def test_the_button_changes_to_dark_and_the_colours_follow(page: Path) -> None:
    light = page.parent / "light.png"
    dark = page.parent / "dark.png"
    size = "--window-size=900,1200"
    assert browse(page, f"--screenshot={light}", size)[1] == []
    page.write_text(page.read_text().replace("</body>", _BUTTON))
    shown, console = browse(page, "--dump-dom")
    assert 'data-scheme="dark"' in shown
    assert console == []
    browse(page, f"--screenshot={dark}", size)
    assert mean_of(light) > 200
    assert mean_of(dark) < 60


def test_it_prints_on_paper(page: Path) -> None:
    paper = page.parent / "report.pdf"
    assert browse(page, f"--print-to-pdf={paper}")[1] == []
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 2


def mean_of(picture: Path) -> float:
    """Mean brightness, 0 to 255."""
    from PIL import Image

    with Image.open(picture) as opened:
        histogram = opened.convert("L").histogram()
    return sum(level * count for level, count in enumerate(histogram)) / sum(histogram)
