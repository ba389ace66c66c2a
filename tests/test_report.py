"""The report: one file that needs no other, says the verdict first, shows every figure, and lets no text become markup."""

import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import rnnscope as rs
from helpers import BLANK_SVG, run_tiny, strict_json, succeeds, tiny, wave, with_drawing, write_csv
from rnnscope.evaluation.baselines import label
from rnnscope.plotting import render
from rnnscope.runs.folder import RunFolder
from rnnscope.runs.report import number, spread

SCRIPT = "<script>alert(1)</script>"
COLUMN = "<script>load</script> & 'more' \"quoted\""
SUMMARY = f"Is x < y & z > 0? {SCRIPT} <img src=x onerror=alert(2)> {{{{ 7*7 }}}}"
VOID = {"meta", "br", "img", "hr", "input", "link"}


class Page(HTMLParser):
    """What a browser would make of a page: tags with attributes, text, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> after {self.open[-3:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

    def values(self, *names: str) -> list[str]:
        return [v or "" for _, attributes in self.tags for k, v in attributes.items() if k in names]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A run with hostile texts and odd but legal model names, its figures really drawn."""
    folder = tmp_path_factory.mktemp("drawn")
    path = write_csv(folder / "d.csv", **{COLUMN: wave(120)})
    experiment = tiny(
        name=f"{SCRIPT}/..",
        summary=SUMMARY,
        task=rs.Table(path=str(path), target=COLUMN, unit="<b>kW</b>", window=10, split=rs.Split(validation=0.2)),
        models={"größe-1": rs.GRU(hidden_size=3, num_layers=1), "a_b": rs.Elman(hidden_size=3, num_layers=1)},
    )
    with with_drawing("svg"):
        return rs.run(experiment, out=folder / "runs")


@pytest.fixture(scope="module")
def page(drawn):
    return Page(drawn.report.read_text(encoding="utf-8"))


def test_the_page_is_well_formed(page):
    assert page.faults == []
    assert page.open == []


def test_the_page_fetches_nothing(drawn, page):
    for link in page.values("src", "href", "xlink:href", "data", "srcset", "action", "poster"):
        assert link.startswith(("#", "data:"))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "img", "base", "form"}
    text = drawn.report.read_text(encoding="utf-8")
    assert "@import" not in text
    for target in re.findall(r"url\(([^)]*)\)", text):
        assert target.strip("\"'").startswith("#")


def test_the_page_runs_nothing(page):
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not [v for v in page.values("href", "xlink:href") if "javascript" in v.lower()]


def test_text_of_the_user_stays_text(page):
    assert SUMMARY in page.words
    assert SCRIPT in page.words
    assert COLUMN in page.words
    assert "<b>kW</b>" in page.words
    assert "49" not in SUMMARY


def test_the_verdict_comes_first_then_the_scores_then_the_figures(drawn, page):
    words = page.words
    places = [words.index(w) for w in (drawn.verdict, "Scores", "Figures", "Data", "Models and training", "Reproduce")]
    assert places == sorted(places)
    for name, entry in drawn.metrics["models"].items():
        assert f"{name}: {entry['verdict']}" in words


def test_every_figure_is_inside_with_its_caption(drawn, page):
    listed = strict_json(drawn.path / "figures/figures.json")
    shown = [attributes["id"] for tag, attributes in page.tags if tag == "figure"]
    assert shown == [f"figure-{f['name']}" for f in listed]
    assert [tag for tag, _ in page.tags].count("svg") == len(listed)
    for figure in listed:
        assert figure["caption"] in page.words
    assert {f"predictions_{n}" for n in drawn.experiment.models} <= {f["name"] for f in listed}


def test_the_figures_say_what_their_axes_are(page):
    for word in ("training", "test", "lead time in steps", "RMSE"):
        assert word in page.words


def test_no_two_things_on_the_page_share_an_id_and_every_reference_has_one(drawn, page):
    counts = Counter(page.values("id"))
    assert [i for i, n in counts.items() if n > 1] == []
    text = drawn.report.read_text(encoding="utf-8")
    referenced = {m for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text) for m in pair if m}
    assert referenced <= set(counts)


def test_ids_stay_apart_for_models_whose_names_differ_in_a_dash_only(tmp_path):
    models = {"a-b": rs.GRU(hidden_size=3, num_layers=1), "a_b": rs.GRU(hidden_size=3, num_layers=1)}
    run = run_tiny(tmp_path, models=models)
    drawing = '<svg xmlns="http://www.w3.org/2000/svg"><g id="clip"/><use href="#clip"/></svg>'
    listed = []
    for name in models:
        (run.path / f"figures/loss_{name}.svg").write_text(drawing)
        listed.append({"name": f"loss_{name}", "caption": "A loss.", "wide": False})
    RunFolder(run.path).write_json("figures/figures.json", listed)
    succeeds("report", run.path)
    counts = Counter(Page(run.report.read_text(encoding="utf-8")).values("id"))
    assert [i for i, n in counts.items() if n > 1] == []


def test_figures_follow_the_colour_of_the_text(drawn):
    text = drawn.report.read_text(encoding="utf-8")
    svg = text[text.index("<svg") : text.rindex("</svg>")]
    assert "currentColor" in svg
    assert "#1f2328" not in svg.lower()


def test_the_page_is_readable_on_a_phone_and_in_the_dark(drawn, page):
    metas = {a.get("name"): a.get("content") for tag, a in page.tags if tag == "meta"}
    assert "width=device-width" in (metas["viewport"] or "")
    assert "dark" in (metas["color-scheme"] or "")
    assert "prefers-color-scheme: dark" in drawn.report.read_text(encoding="utf-8")
    assert not [a for tag, a in page.tags if tag == "svg" and {"width", "height"} & set(a)]


def table_rows(text: str) -> list[list[str]]:
    return [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", text, re.DOTALL)
    ]


def test_the_score_tables_hold_the_numbers_of_the_metrics_best_first(drawn):
    text = drawn.report.read_text(encoding="utf-8")
    part = text[text.index("One step ahead, test part") : text.index("Closed loop over the test part")]
    head, *rows = table_rows(part)
    expected = {**drawn.metrics["models"], **{label(n): s for n, s in drawn.metrics["baselines"].items()}}
    assert {row[0] for row in rows} == set(expected)
    for row in rows:
        assert row[head.index("RMSE")] == number(expected[row[0]]["test"]["rmse"])
        assert row[head.index("R²")] == number(expected[row[0]]["test"]["r2"])
    errors = [expected[row[0]]["test"]["rmse"] for row in rows]
    assert errors == sorted(errors)


def test_in_each_column_the_best_value_is_marked_and_the_ceiling_never(tmp_path):
    run = run_tiny(tmp_path)
    text = run.report.read_text(encoding="utf-8")
    part = text[text.index("One step ahead, test part") : text.index("Closed loop over the test part")]
    marked = re.findall(r'<tr class="(\w+)"><td>([^<]*)</td>((?:<td.*?</td>)*)', part)
    rivals = {**run.metrics["models"], **{label(n): s for n, s in run.metrics["baselines"].items()}}
    rivals.pop(label("noise_ceiling"))
    for kind, name, cells in marked:
        best = 'class="best"' in cells
        if kind == "ceiling":
            assert not best
        elif best and cells.startswith('<td class="best"'):
            assert rivals[name]["test"]["rmse"] == min(r["test"]["rmse"] for r in rivals.values())
    assert 'class="best"' in part


def test_several_seeds_are_shown_with_their_spread(tmp_path):
    run = run_tiny(tmp_path, num_seeds=2)
    assert f"± {spread(run.metrics['models']['gru']['test_sd']['rmse'])}" in Page(run.report.read_text(encoding="utf-8")).words


def test_the_page_says_how_to_reproduce_the_run(drawn, page):
    assert f"rnnscope run {drawn.path.name}/config.yaml" in page.words
    config = " ".join((drawn.path / "config.yaml").read_text(encoding="utf-8").split())
    assert config in page.words
    environment = strict_json(drawn.path / "environment.json")
    assert environment["packages"]["torch"] in page.words


def test_the_report_is_a_function_of_the_folder_alone(drawn, tmp_path):
    moved = tmp_path / "elsewhere" / drawn.path.name
    shutil.copytree(drawn.path, moved)
    succeeds("report", moved)
    assert (moved / "report.html").read_text(encoding="utf-8") == drawn.report.read_text(encoding="utf-8")


def test_a_comparison_page_needs_no_other_file_and_escapes_what_it_shows(drawn, tmp_path):
    odd = tmp_path / "<script>alert(1)<" / "run & more"
    shutil.copytree(drawn.path, odd)
    with with_drawing("svg"):
        succeeds("compare", odd, drawn.path, "--out", tmp_path / "c")
    text = (tmp_path / "c/comparison.html").read_text(encoding="utf-8")
    found = Page(text)
    assert found.faults == []
    assert "script" not in {tag for tag, _ in found.tags}
    assert all(link.startswith("#") for link in found.values("src", "href", "xlink:href"))
    assert "run & more" in found.words
    assert max(Counter(found.values("id")).values()) == 1


def series_figure(out: Path, *, figure: str = "series", **changes: object) -> tuple[rs.Run, str]:
    """A run whose figures are composed, and one of them, that of its series, drawn as SVG."""
    composed: list[object] = []

    def keep(canvas: object, kind: str) -> bytes:
        composed.append(canvas)
        return BLANK_SVG

    with with_drawing(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("rnnscope.runs.writers.render", keep)
        run = rs.run(tiny(**changes), out=out)
    names = [f["name"] for f in strict_json(run.path / "figures/figures.json")]
    return run, render(composed[2 * names.index(figure)], "svg").decode()


@pytest.mark.parametrize(
    "name", ["price in US$ and $", "$x^$", "a $\\frac b$ c", "_hidden", "100 %", "x\\n", "µ²", "<b> & 'c'"]
)
def test_a_column_of_any_name_can_be_drawn_and_is_shown_as_it_is(tmp_path, name):
    path = write_csv(tmp_path / "d.csv", **{name: wave(120)})
    run, svg = series_figure(tmp_path / "runs", task=rs.Table(path=str(path), target=name, window=10))
    assert name in Page(run.report.read_text(encoding="utf-8")).words
    assert name in Page(svg).words


@pytest.mark.parametrize("name", ["_gru", "größe", "a-b-c", "x" * 24, "mean", "linear_autoregression", "test"])
def test_a_model_of_any_legal_name_is_scored_drawn_and_compared(tmp_path, name):
    run, _ = series_figure(tmp_path / "runs", models={name: rs.GRU(hidden_size=3, num_layers=1)})
    with with_drawing("none"):
        succeeds("compare", run.path, "--out", tmp_path / "c")
    assert set(run.metrics["models"]) == {name}
    assert name in Page(run.report.read_text(encoding="utf-8")).words
    assert len(run.forecast(3, model=name)) == 3


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0"), (1.23456, "1.235"), (0.99432, "0.99432"), (1e-9, "1.00e-09")]
)
def test_numbers_are_shown_with_the_digits_that_matter(value, text):
    assert number(value) == text


def test_a_model_that_was_not_trained_has_neither_a_kept_epoch_nor_a_loss(tmp_path):
    run = run_tiny(tmp_path, trainer=rs.Untrained())
    text = run.report.read_text(encoding="utf-8")
    row = re.search(r"<td>gru</td><td>\d+</td>(.*?)</tr>", text)
    assert row is not None
    assert re.findall(r"<td>(.*?)</td>", row[1]) == ["–", "not trained", "–", "–"]


@pytest.mark.parametrize(("scale", "text"), [(1e-4, "true - forecast in 1e-4, MAE"), (1.0, "true - forecast, MAE")])
def test_tiny_errors_are_drawn_in_a_power_of_ten_that_the_label_names(tmp_path, scale, text):
    path = write_csv(tmp_path / "d.csv", value=scale * wave(120))
    _, svg = series_figure(tmp_path / "runs", task=rs.Table(path=str(path), target="value", window=10), figure="errors_gru")
    assert text in Page(svg).words


def test_every_number_on_the_page_is_finite(page):
    assert not re.search(r"\b(nan|inf)\b", page.words, re.IGNORECASE)


def test_the_report_reads_no_array(drawn, tmp_path):
    moved = tmp_path / drawn.path.name
    shutil.copytree(drawn.path, moved)
    for path in (*moved.rglob("*.npz"), *moved.rglob("*.safetensors")):
        path.unlink()
    succeeds("report", moved)
    assert np.array_equal(Path(moved / "report.html").read_bytes(), drawn.report.read_bytes())
