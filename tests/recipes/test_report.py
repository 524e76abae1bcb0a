"""Pages about runs: complete, self-contained, made again from the folder alone, and safe with whatever the data hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.core.scores.calibration import Reliability
from nyala.recipes import cli, report
from nyala.recipes.judging.assessment import Assessment
from nyala.recipes.report import Sample, charts, compare, diagrams, parts, samples
from nyala.recipes.report.page import run_page

RECORDS = [
    *({"kind": "step", "step": s, "loss": 1 / s, "lr": 0.1, "grad_norm": 1.0, "samples": 4, "correct": 2} for s in range(1, 9)),
    {"kind": "eval", "step": 4, "part": "validation", "loss": 0.5, "accuracy": 0.7, "macro_f1": 0.6},
    {"kind": "eval", "step": 8, "part": "validation", "loss": 0.4, "accuracy": 0.8, "macro_f1": 0.7},
    {"kind": "final", "step": 8, "loss": 0.4, "accuracy": 0.8, "macro_f1": 0.7, "weights_step": 8},
]
TRUTH, PREDICTED = np.repeat([0, 1], 10), np.array([0] * 8 + [1] * 2 + [0] * 3 + [1] * 7)
SAMPLES = [
    Sample(3, "cat", "dog", 0.9, picture=b"\x89PNG"),
    Sample(5, "cat", "cat", 0.6, text="<script>alert(1)</script> & more"),
    Sample(6, "dog", "cat", 0.7, sound=b"RIFF"),
]
MANIFEST: dict[str, Any] = {
    "recipe": {"name": "vision/x", "sha256": "ab"},
    "code": {"version": "0", "sha256": "cd"},
    "data": {"name": "<d>", "train": "ef"},
    "weights": {"name": "w"},
    "seeds": {"seed": 3},
    "environment": {"numpy": "2", "machine": "m"},
    "outputs": {"metrics.jsonl": "12"},
}


def assessment(
    labels: tuple[str, ...] = ("cat", "dog"), truth: np.ndarray = TRUTH, predicted: np.ndarray = PREDICTED
) -> Assessment:
    sure = np.full(len(truth), 0.75)
    return Assessment(labels, truth, predicted, sure, np.where(truth == predicted, 0.75, 0.25), -np.log(sure))


def view(**changes: Any) -> report.View:
    given = {
        "folder": Path("runs/x-1"), "title": "vision/x", "description": "", "records": RECORDS, "seconds": 9.0,
        "recipe": "seed = 1  # a.toml:1\nk = 2  # default\n", "settings": {"seed": 1}, "manifest": MANIFEST,
        "assessment": assessment(), "samples": SAMPLES,
    }  # fmt: skip
    return report.View(**{**given, **changes})


class Checker(HTMLParser):
    """Every opened element is closed, in order; collects what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.fetched: list[str] = []
        self.anchors: list[str] = []
        self.ids: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.ids += [v or "" for k, v in attrs if k == "id"]
        self.anchors += [v[1:] for k, v in attrs if k == "href" and v and v.startswith("#")]
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href") and not (v or "").startswith("#")]
        if tag not in ("meta", "img", "br", "link"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """``<line/>``: opened and closed at once."""


def checked(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    assert checker.stack == [] and checker.scripts == 0 and set(checker.anchors) <= set(checker.ids)
    assert "http" not in html and "@import" not in html and "url(" not in html and " onload" not in html
    return checker


def test_the_page_is_well_formed_and_fetches_nothing() -> None:
    found = checked(run_page(view())).fetched
    assert [a.partition(",")[0] for a in found] == ["data:image/png;base64", "data:audio/wav;base64"]


def test_text_from_the_data_cannot_become_markup() -> None:
    html = run_page(view(assessment=assessment(("<b>cat</b>", '"dog"')), title="<i>x</i>", description="a & <u>"))
    checked(html)
    assert "<script>" not in html and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert "<b>cat</b>" not in html and "&lt;b&gt;cat" in html and "<i>x</i>" not in html and "<d>" not in html


def test_light_and_dark() -> None:
    html = run_page(view())
    assert "prefers-color-scheme: dark" in html and "color-scheme: light dark" in html
    light, dark = (set(re.findall(r"(--\w+):", part)) for part in html.split("prefers-color-scheme: dark")[:2])
    assert light <= dark  # every colour has both


def test_numbers_of_the_classes_are_right_and_have_intervals() -> None:
    text = re.sub(r"<[^>]+>", " ", run_page(view()))
    number = r"([\d.]+)\s+([\d.]+) to ([\d.]+)\s+"
    cat = re.search(rf"cat\s+{number}{number}{number}(\d+)\s+dog \((\d+)\)", text)
    assert cat is not None
    assert (cat[1], cat[4], cat[7], cat[10], cat[11]) == ("0.727", "0.800", "0.762", "10", "2")
    assert (cat[5], cat[6]) == ("0.49", "0.94")  # Wilson, 8 of 10
    assert "75.0 %" in text and "95 %: 53.1 to 88.8 %" in text and "samples seen" in text


def test_mistakes_and_right_answers_have_their_own_headings() -> None:
    html = run_page(view())
    assert html.index("Mistakes, the surest first") < html.index("Right answers")
    assert "Mistakes" not in run_page(view(samples=[s for s in SAMPLES if s.label == s.predicted]))
    assert "The data are gone" in run_page(view(samples=None, without_samples="The data are gone."))


def test_many_classes_give_a_list_of_confusions_instead_of_a_square() -> None:
    truth = np.repeat(np.arange(40), 5)
    predicted = truth.copy()
    predicted[15:19] = 9
    html = run_page(view(assessment=assessment(tuple(f"c{i}" for i in range(40)), truth, predicted), samples=[]))
    assert '<td>c9</td><td class="number">4</td>' in html and 'class="matrix"' not in html
    assert html.index("<th>c3</th>") < html.index("<th>c0</th>") and "The worst classes come first" in html


def test_classes_that_do_not_occur_take_no_room() -> None:
    html = run_page(view(assessment=assessment(("cat", "dog", *(f"c{i}" for i in range(998))))))
    assert 'class="matrix"' in html and "c997" not in html


def test_an_unfinished_run_has_a_page_and_so_has_one_of_infinite_losses() -> None:
    step = {"kind": "step", "step": 1, "loss": "nan", "lr": 0.1, "grad_norm": 1.0}
    html = run_page(view(records=[step], assessment=None, samples=None, manifest={}))
    checked(html)
    assert "nothing recorded" in html and "no manifest yet" in html and 'id="classes"' not in html
    checked(run_page(view(records=[], assessment=None, samples=None, manifest={})))


def test_scores_of_another_task_are_shown_as_recorded() -> None:
    final = {"kind": "final", "step": 8, "loss": 0.4, "f1": 0.625}
    evaluation = {"kind": "eval", "part": "validation", "step": 8, "loss": 0.4, "f1": 0.5}
    html = run_page(view(records=[*RECORDS[:8], evaluation, final], assessment=None))
    assert "0.6250" in html and "F1 0.5 at 8" in html


def test_interruptions_and_the_levels_are_told() -> None:
    resumed = [{"step": 4, "differences": []}, {"step": 9, "differences": ["another environment, blas: a -> <b>"]}]
    html = run_page(view(manifest={**MANIFEST, "resumed": resumed, "proof": "f00d"}))
    checked(html)
    assert "went on 2 times: at step 4, at step 9 with another environment, blas: a -&gt; &lt;b&gt;" in html
    assert "<code>f00d</code>" in html and all(level in html for level in ("bitwise", "bounded", "statistical"))


def test_what_was_set_stands_out_in_the_recipe() -> None:
    html = parts.recipe("a = 1  # default\nb = 2  # override\n[<t>]\n")
    assert "<b>b = 2</b>" in html and "<b>a" not in html and "[&lt;t&gt;]" in html


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
    assert charts.smoothed([(1, 1.0), (2, 3.0)]) == [(1, 1.0), (2, 3.0)]  # a short curve is left as it is


def test_pillars_say_where_the_model_is_too_sure() -> None:
    r = Reliability()
    r.add(np.full(10, 0.9), np.arange(10) < 5)
    svg = diagrams.reliability_diagram(r)
    assert svg.count('class="gap"') == 1 and "10 samples, 90.0 % sure, 50.0 % right" in svg


def test_pictures_are_small_and_tiny_ones_keep_their_pixels(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (1000, 500)).save(tmp_path / "large.png")
    large, tiny = samples.show_picture(tmp_path / "large.png"), samples.show_picture(np.zeros((28, 28), np.uint8))
    assert not large["tiny"] and tiny["tiny"] and len(large["picture"]) < 2000
    assert samples.show_text("x" * 1000)["text"] == "x" * 600 + " …"


# ---- real folders -------------------------------------------------------------------------------------------------


def test_the_report_is_made_again_from_the_folder_alone(trained: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    folder = trained("run").folder
    at_the_end = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    (folder / "metrics.csv").unlink()
    assert cli.main(["report", str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == at_the_end and (folder / "metrics.csv").is_file()
    assert capsys.readouterr().out.strip().endswith("report.html")
    found = checked(at_the_end.decode())
    assert {"curves", "classes", "confusion", "calibration", "samples", "recipe", "reproducibility"} <= set(found.ids)
    scores = json.loads((folder / report.view.SCORES).read_text())
    assert scores["samples"] == 12 and scores["calibration"]["temperature"]["value"] > 0


def test_samples_that_changed_are_not_shown(trained: Callable[..., Any], tmp_path: Path, tiny_data: Path) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    folder = trained("run", f"data.name={data}").folder
    assert report.read(folder).samples
    (data / "red" / "00.png").unlink()
    found = report.read(folder)
    assert found.samples is None and "is not what the run saw" in found.without_samples
    shutil.rmtree(data)
    assert "cannot be shown" in report.read(folder).without_samples


def test_numbers_that_were_changed_afterwards_are_not_passed_off(
    trained: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained("run").folder
    path = folder / "predictions.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"label":0', b'"label":1', 1))
    assert cli.main(["report", str(folder)]) == 0
    assert "predictions.jsonl changed since the run ended" in capsys.readouterr().err
    view = report.read(folder)
    assert view.changed == ("predictions.jsonl",)
    for page in (run_page(view), report.comparison_page([view, view])):
        checked(page)
        assert "do not trust these numbers" in page
    assert "do not trust" not in run_page(replace(view, changed=()))


def test_several_runs_on_one_page(trained: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = trained("a"), trained("b", "optim.lr=0.02"), trained("c", "seed=5")
    page = tmp_path / "both.html"
    assert cli.main(["report", *(str(r.folder) for r in (first, second, third)), "--output", str(page), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(r["run"]).name for r in found["runs"]] == ["a", "b", "c"] and found["runs"][0]["accuracy"]["value"] >= 0
    html = page.read_text()
    checked(html)
    assert "<code>optim.lr</code>" in html and "<code>0.02</code>" in html and "train.epochs" not in html
    assert html.count("other samples") == 1  # the third run drew another test part by its seed
    views = [report.read(r.folder, samples=False) for r in (first, second, third)]
    assert [key for key, _ in compare.differing(views)] == ["optim.lr", "seed"]
    gain = compare.difference(views[1], views[0])
    a, b = (v.assessment for v in views[:2])
    assert gain is not None and a is not None and b is not None and compare.difference(views[2], views[0]) is None
    assert gain.value == pytest.approx(b.accuracy.value - a.accuracy.value) and gain.low <= gain.value <= gain.high


def test_a_comparison_holds_unfinished_runs_too() -> None:
    other = view(folder=Path("runs/x-2"), assessment=None, manifest={}, records=RECORDS[:3], settings={"seed": 2})
    html = report.comparison_page([view(), other])
    checked(html)
    assert "not finished" in html and "x-2" in html
    same = report.comparison_page([view(), replace(view(), folder=Path("other/x-1"))])
    assert "runs/x-1" in same and "other/x-1" in same and "the recipes say the same" in same


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["no-such-run"], "is not a run folder"), (["x", "--output", "page.pdf"], "end the name in .html")],
)
def test_the_command_refuses_what_it_cannot_do(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", *arguments]) == 2
    assert text in capsys.readouterr().err
