"""The report: complete, self-contained, and safe with whatever text the data holds."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from nyala.recipes.report import Sample, charts, render

RECORDS = [
    *({"kind": "step", "step": s, "loss": 1 / s, "lr": 0.1, "grad_norm": 1.0, "samples": 4, "correct": 2} for s in range(1, 9)),
    {"kind": "eval", "step": 4, "loss": 0.5, "accuracy": 0.7, "macro_f1": 0.6},
    {"kind": "eval", "step": 8, "loss": 0.4, "accuracy": 0.8, "macro_f1": 0.7},
    {"kind": "final", "step": 8, "loss": 0.4, "accuracy": 0.8, "macro_f1": 0.7, "weights_step": 8},
]
CONFUSION = np.array([[8, 2], [3, 7]])
SAMPLES = [
    Sample(3, "cat", "dog", 0.9, picture=b"\x89PNG"),
    Sample(5, "cat", "cat", 0.6, text="<script>alert(1)</script> & more"),
]


def page(**changes: object) -> str:
    given = {"records": RECORDS, "confusion": CONFUSION, "labels": ["cat", "dog"], "samples": SAMPLES}
    return render("vision/x", recipe_toml="seed = 1  # a.toml:1\n", manifest={"recipe": {"sha256": "ab"}}, **{**given, **changes})  # type: ignore[arg-type]


class Checker(HTMLParser):
    """Every opened element is closed, in order; collects what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.fetched: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href")]
        if tag not in ("meta", "img", "br", "link"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """``<line/>``: opened and closed at once."""


def test_the_page_is_well_formed_and_fetches_nothing() -> None:
    checker = Checker()
    html = page()
    checker.feed(html)
    assert checker.stack == [] and checker.scripts == 0
    assert all(address.startswith("data:image/png;base64,") for address in checker.fetched) and len(checker.fetched) == 1
    assert "http" not in html and "@import" not in html and "url(" not in html


def test_text_from_the_data_cannot_become_markup() -> None:
    html = page(labels=["<b>cat</b>", '"dog"'])
    assert "<script>" not in html and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert "<b>cat</b>" not in html and "&lt;b&gt;cat" in html


def test_light_and_dark() -> None:
    assert "prefers-color-scheme: dark" in page() and "color-scheme: light dark" in page()


def test_numbers_of_the_classes_are_right() -> None:
    text = re.sub(r"<[^>]+>", " ", page())
    cat = re.search(r"cat\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+(\d+)\s+dog \((\d+)\)", text)
    assert cat is not None
    assert cat.groups() == ("0.727", "0.800", "0.762", "10", "2")
    assert "80.0 %" in text and "samples seen" in text


def test_mistakes_and_right_answers_have_their_own_headings() -> None:
    html = page()
    assert html.index("Mistakes, the surest first") < html.index("Right answers")
    assert "Mistakes" not in page(samples=[s for s in SAMPLES if s.label == s.predicted])


def test_many_classes_give_a_list_of_confusions_instead_of_a_square() -> None:
    confusion = np.eye(40, dtype=int) * 5
    confusion[3, 9] = 4
    html = page(confusion=confusion, labels=[f"c{i}" for i in range(40)], samples=[])
    assert "<td>c9</td><td>4</td>" in html and 'class="matrix"' not in html


def test_a_run_without_evaluations_or_with_infinite_losses_still_has_a_page() -> None:
    html = page(records=[{"kind": "step", "step": 1, "loss": "nan", "lr": 0.1, "grad_norm": 1.0}])
    assert "nothing recorded" in html


@pytest.mark.parametrize(
    ("low", "high"), [(0.13, 0.91), (0, 1e6), (-3, 5), (1e-5, 2e-5), (2.0, 2.0), (0.0, 0.0), (-1e-9, 1e-9), (99.5, 100.5)]
)
def test_ticks_enclose_the_data_evenly(low: float, high: float) -> None:
    found = charts.ticks(low, high)
    gaps = np.diff(found)
    assert found[0] <= low + 1e-12 and found[-1] >= high - 1e-12 and 2 <= len(found) <= 9
    assert np.allclose(gaps, gaps[0]) and gaps[0] > 0


def test_thinning_keeps_both_ends() -> None:
    points = [(float(i), float(i)) for i in range(5000)]
    thin = charts.thinned(points)
    assert len(thin) == 400 and thin[0] == points[0] and thin[-1] == points[-1]


def test_smoothing_is_an_unbiased_average() -> None:
    (_, first), (_, second) = charts.smoothed([(1, 1.0), (2, 3.0)], weight=0.5)
    assert first == 1.0 and second == pytest.approx((0.25 * 1 + 0.5 * 3) / 0.75)
