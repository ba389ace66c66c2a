"""A network that emulates an HMM, from the preset to the report: one tiny run, and what every verb makes of it."""

import html
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import rnnscope as rs
from helpers import cli, run_folders, run_tiny, strict_json, succeeds, unfinished, without_drawing
from rnnscope.experiment import with_overrides
from rnnscope.pipeline import open_folder, walk

NAME = "hmm-chain-3-quick"
COUNT, STEPS = 30, 12
SIZES = [
    "task.num_sequences=90",
    f"task.num_steps={STEPS}",
    "models.relu.hidden_size=4",
    f"evaluation.num_sequences={COUNT}",
    "evaluation.floor_draws=2",
    "evaluation.way_back=[1,2]",
    "evaluation.long_steps=80",
    "trainer.validation_size=20",
    "trainer.keep_epochs=2",
    *(f"trainer.stages.{n}.{field}" for n in (0, 1) for field in ("epochs=1", "batch_size=16", f"num_steps={STEPS}")),
]
ANALYSIS = {"num_paths": 20, "num_steps": 60, "burn_in": 5, "num_components": 200, "num_states": 60, "num_rollouts": 4}
ANALYSIS |= {"horizon": 12, "num_jacobians": 20, "num_development": 5, "max_kick_units": 2, "control_groups": 2}
WITH_ANALYSIS = [*SIZES, *(f"analyses.reverse_engineering.{k}={v}" for k, v in ANALYSIS.items())]
WITHOUT = [*SIZES, "analyses={}"]


def words(assignments: list[str]) -> list[str]:
    """As options of the command line."""
    return ["--quiet", *(word for one in assignments for word in ("--set", one))]


def tiny(*more: str, name: str = NAME) -> rs.Experiment:
    return with_overrides(rs.preset(name), [*WITHOUT, *more])


def carried_out(experiment: rs.Experiment, out: Path) -> rs.Run:
    with without_drawing():
        return rs.run(experiment, out=out)


@pytest.fixture(autouse=True)
def blank() -> Iterator[None]:
    with without_drawing():
        yield


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    """The preset with its analysis; its tests leave it as it is."""
    return carried_out(with_overrides(rs.preset(NAME), WITH_ANALYSIS), tmp_path_factory.mktemp("opened"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    """The preset without its analysis."""
    return carried_out(tiny(), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    """Two seeds."""
    return carried_out(tiny("num_seeds=2"), tmp_path_factory.mktemp("repeated"))


def weights(run: rs.Run, repeat: int | None = None) -> dict[str, torch.Tensor]:
    return run.model(repeat=repeat).state_dict()


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def timeless(tree: Any) -> Any:
    """Without what differs from run to run: seconds."""
    if isinstance(tree, dict):
        return {k: timeless(v) for k, v in tree.items() if k != "seconds"}
    return [timeless(v) for v in tree] if isinstance(tree, list) else tree


# what a run leaves


def test_the_run_is_done_and_has_a_verdict(opened: rs.Run) -> None:
    assert opened.status == "done"
    assert opened.verdict.startswith("relu: Sinkhorn divergence to fresh HMM sequences")
    assert "times the HMM's own floor" in opened.verdict
    assert "acceptance window" in opened.verdict.lower()
    assert opened.best_model() == "relu"
    assert unfinished(opened.path.parent) == []


def test_the_metrics_have_their_form(opened: rs.Run) -> None:
    metrics = strict_json(opened.path / "metrics.json")
    entry = metrics["models"]["relu"]
    assert {"sampled", "argmax", "states", "gates", "way_back", "training", "success_rate", "verdict"} <= entry.keys()
    assert set(metrics["baselines"]) == {"hmm", "iid", "markov1", "markov3"}
    assert metrics["analyses"] == ["reverse_engineering"]
    assert all(v in (0.0, 1.0) for v in entry["gates"].values())
    assert entry["success_rate"] == float(all(entry["gates"].values()))
    assert {"divergence / floor", "bounded states", "better than independent symbols"} <= entry["gates"].keys()
    for headline in metrics["headlines"]:
        assert headline["score"] in entry[headline["part"]]
        assert headline["score"] in metrics["baselines"]["hmm"][headline["part"]]


def test_the_tables_show_every_model_and_baseline_with_known_columns(opened: rs.Run) -> None:
    tables = opened.metrics["tables"]
    assert [t["title"] for t in tables][:2] == ["Distances and frequencies", "Words, runs, memory, likelihood"]
    assert tables[-1]["title"] == "Acceptance window"
    assert [row["name"] for row in tables[0]["rows"]] == [
        *("relu, sampled", "relu, argmax", "HMM, fresh draws", "independent symbols"),
        *("Markov chain, order 1", "Markov chain, order 3"),
    ]
    for table in tables:
        for row in table["rows"]:
            assert any(column["key"] in row["values"] for column in table["columns"])
    window = tables[-1]["rows"][0]["values"]
    assert set(window.values()) <= {"yes", "no", "0 %", "100 %"}


def test_the_floor_is_one_and_the_scores_are_those_of_the_arrays(opened: rs.Run) -> None:
    floor, entry = opened.metrics["baselines"]["hmm"]["sampled"], opened.metrics["models"]["relu"]["sampled"]
    assert floor["divergence_ratio"] == floor["distance_ratio"] == 1
    assert entry["divergence_ratio"] == pytest.approx(entry["divergence"] / floor["divergence"])
    changes = opened.findings["relu/0/sampled_volatilities"]
    assert changes.shape == (COUNT,)
    assert entry["volatility"] == pytest.approx(changes.mean())
    assert entry["volatility_sd"] == pytest.approx(changes.std(ddof=1))
    assert entry["switch_rate"] == pytest.approx(changes.mean() / (STEPS - 1))
    assert entry["distance"] == pytest.approx(opened.findings["relu/0/sampled_distances"].mean())
    exact = opened.data.exact()
    assert entry["volatility_error"] == pytest.approx(abs(changes.mean() / exact.volatility - 1))


def test_the_history_has_a_row_per_epoch(opened: rs.Run) -> None:
    assert opened.history["epoch"].tolist() == [1, 2]
    assert opened.history["stage"].tolist() == [1, 2]
    assert np.isfinite(opened.history["validation_ratio"]).all()


def test_the_data_are_kept_and_prepared_again_the_same(opened: rs.Run) -> None:
    kept = opened.folder.read_arrays("data/data.npz")
    np.testing.assert_array_equal(kept["test_symbols"], opened.data.test.symbols)
    assert opened.folder.read_json("data/data.json")["exact volatility"].startswith("2.8")


def test_the_model_is_read_back_as_it_was_kept(opened: rs.Run) -> None:
    stored = opened.folder.read_tensors("model.safetensors")
    assert equal({f"relu/0/{k}": v for k, v in weights(opened).items()}, stored)
    assert not opened.model().training


def test_the_weights_on_the_way_are_read_back_too(opened: rs.Run) -> None:
    trained = opened.trained()
    assert [epoch for epoch, _ in trained.development] == [1, 2]
    stored = opened.folder.read_tensors("development.safetensors")
    for epoch, model in trained.development:
        assert equal(
            {f"relu/0/{epoch}/{k}": v for k, v in model.state_dict().items()},
            {k: v for k, v in stored.items() if f"/{epoch}/" in k},
        )
    assert trained.history.columns["epoch"].tolist() == [1, 2]


def test_equal_experiments_give_equal_numbers(plain: rs.Run, tmp_path: Path) -> None:
    again = carried_out(tiny(), tmp_path)
    assert equal(weights(again), weights(plain))
    assert timeless(again.metrics) == timeless(plain.metrics)


def test_an_analysis_does_not_change_the_training(plain: rs.Run, opened: rs.Run) -> None:
    assert equal(weights(plain), weights(opened))
    assert plain.verdict == opened.verdict


# sampling


def test_samples_are_drawn_and_drawn_again(opened: rs.Run) -> None:
    first, again, other = (opened.sample(7, 9, seed=s) for s in (1, 1, 2))
    assert first.sampled.shape == first.argmax.shape == (7, 9)
    assert first.logits.shape == (7, 9, 3)
    np.testing.assert_array_equal(first.sampled, again.sampled)
    assert (first.sampled != other.sampled).any()
    with pytest.raises(rs.ConfigError, match="0 sequences of 9 steps"):
        opened.sample(0, 9)
    with pytest.raises(rs.ConfigError, match="unknown model 'rel'"):
        opened.sample(1, 1, model="rel")
    with pytest.raises(rs.ConfigError, match="repeat 1"):
        opened.sample(1, 1, repeat=1)


def test_samples_are_written_as_arrays_and_as_a_table(opened: rs.Run, tmp_path: Path) -> None:
    numbers = ["--num-sequences", 7, "--num-steps", 9, "--seed", 1]
    found = json.loads(succeeds("sample", opened.path, *numbers, "--out", tmp_path / "s.npz", "--json").out)
    assert found == {"file": str(tmp_path / "s.npz"), "model": "relu", "sequences": 7, "steps": 9}
    assert "7 sequences of 9 steps by relu" in succeeds("sample", opened.path, *numbers, "--out", tmp_path / "s.csv").out
    made, frame = opened.sample(7, 9, seed=1), pd.read_csv(tmp_path / "s.csv")
    with np.load(tmp_path / "s.npz") as arrays:
        for name, wanted in (("symbols", made.sampled), ("argmax", made.argmax), ("logits", made.logits)):
            np.testing.assert_array_equal(arrays[name], wanted)
    np.testing.assert_array_equal(frame.to_numpy(), made.sampled)
    assert list(frame.columns) == [f"step_{t + 1}" for t in range(9)]


def test_what_is_sampled_can_be_fitted(opened: rs.Run, tmp_path: Path) -> None:
    for name in ("s.npz", "s.csv"):
        succeeds("sample", opened.path, "--num-sequences", 20, "--num-steps", 20, "--out", tmp_path / name)
    one, other = (json.loads(succeeds("fit-hmm", tmp_path / n, "--num-states", "2", "--json").out) for n in ("s.npz", "s.csv"))
    assert one == other
    assert one["sequences"] == 20


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--out", "s.txt"], "ends in '.txt'"),
        (["--num-steps", "0", "--out", "s.npz"], "0 steps"),
        (["--model", "gru", "--out", "s.npz"], "unknown model 'gru'"),
    ],
)
def test_samples_that_cannot_be_drawn_or_written_are_refused(
    opened: rs.Run, tmp_path: Path, options: list[str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli("sample", opened.path, *options)
    assert (answer.code, answer.crash) == (2, None)
    assert named in answer.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", [-1, 2**70], ids=["negative", "huge"])
def test_a_seed_out_of_range_is_refused_as_elsewhere(opened: rs.Run, tmp_path: Path, seed: int) -> None:
    answer = cli("sample", opened.path, f"--seed={seed}", "--num-sequences", 2, "--num-steps", 3, "--out", tmp_path / "s.npz")
    assert (answer.code, answer.crash) == (2, None)


def test_forecasting_runs_and_emulations_send_each_other_away(opened: rs.Run, tmp_path: Path) -> None:
    with pytest.raises(rs.ConfigError, match="no forecasting task"):
        opened.forecast(3)
    series = run_tiny(tmp_path)
    with pytest.raises(rs.ConfigError, match="generates no sequences"):
        series.sample(3, 3)
    answer = cli("sample", series.path, "--out", tmp_path / "s.npz")
    assert (answer.code, answer.crash) == (2, None)


# analyses and the report


def test_the_report_holds_every_statement_and_table(opened: rs.Run) -> None:
    page = opened.report.read_text(encoding="utf-8")
    findings = strict_json(opened.path / "findings/reverse_engineering.json")
    assert len(findings["statements"]) >= 3
    for statement in findings["statements"]:
        assert html.escape(statement, quote=False) in page.replace("&#39;", "'").replace("&#34;", '"')
    for table in [*opened.metrics["tables"], *findings["tables"]]:
        assert table["title"] in page.replace("&#39;", "'")
    assert "Reverse engineering" in page


def test_analysing_again_finds_the_same_and_writes_the_same_report(opened: rs.Run, tmp_path: Path) -> None:
    folder = tmp_path / opened.path.name
    shutil.copytree(opened.path, folder)
    (folder / "report.html").unlink()
    (folder / "findings/reverse_engineering.json").unlink()
    found = json.loads(succeeds("analyze", folder, "--analysis", "reverse_engineering", "--json").out)
    assert Path(found["report"]) == folder / "report.html"
    for name in ("findings/reverse_engineering.json", "figures/figures.json", "metrics.json"):
        assert strict_json(folder / name) == strict_json(opened.path / name)
    assert (folder / "report.html").read_text() == opened.report.read_text()


def test_a_run_without_analyses_can_be_analysed_later(plain: rs.Run, tmp_path: Path) -> None:
    folder = tmp_path / plain.path.name
    shutil.copytree(plain.path, folder)
    succeeds("analyze", folder, "--analysis", "state_space")
    assert strict_json(folder / "metrics.json")["analyses"] == ["state_space"]
    assert "What it learned" in (folder / "report.html").read_text(encoding="utf-8")


def test_another_model_than_the_run_has_is_not_analysed(opened: rs.Run) -> None:
    answer = cli("analyze", opened.path, "--model", "gru")
    assert (answer.code, answer.crash) == (2, None)
    assert "unknown model 'gru'" in answer.err


def test_the_report_is_written_again_from_the_folder(opened: rs.Run, tmp_path: Path) -> None:
    folder = tmp_path / opened.path.name
    shutil.copytree(opened.path, folder)
    (folder / "report.html").unlink()
    succeeds("report", folder)
    assert (folder / "report.html").read_text() == opened.report.read_text()


def test_what_users_write_is_escaped_in_the_report(tmp_path: Path) -> None:
    run = carried_out(tiny().but(summary="<script>alert('summary')</script>", name="a-<b>"), tmp_path)
    page = run.report.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "a-<b>" not in page


# other ways to run


def test_two_seeds_give_a_success_rate(repeated: rs.Run, plain: rs.Run) -> None:
    entry = repeated.metrics["models"]["relu"]
    assert len(entry["seeds"]) == 2
    rates = [all(one["gates"].values()) for one in entry["seeds"]]
    assert entry["success_rate"] == pytest.approx(np.mean(rates))
    assert f"{sum(rates)} of 2 repeats are inside the window" in repeated.verdict
    for part in ("sampled", "gates"):
        for key, value in entry[part].items():
            assert value == pytest.approx(np.mean([one[part][key] for one in entry["seeds"]]))
            assert entry[f"{part}_sd"][key] == pytest.approx(
                np.std([one[part][key] for one in entry["seeds"]], ddof=1), abs=1e-12
            )
            assert entry[f"{part}_median"][key] == pytest.approx(np.median([one[part][key] for one in entry["seeds"]]))
    assert repeated.metrics["tables"][-1]["title"] == "Acceptance window (share of repeats inside)"
    assert not equal(weights(repeated, 0), weights(repeated, 1))
    # the first repeat is the run of one seed
    assert equal(weights(repeated, 0), weights(plain, 0))
    best = entry["training"]["best_repeat"]
    assert equal(weights(repeated), weights(repeated, best))
    assert set(repeated.history["repeat"]) == {0, 1}


def test_the_outcome_of_a_repeat_is_its_own(repeated: rs.Run) -> None:
    outcomes = [repeated.trained(repeat=n).history.outcome for n in (0, 1)]
    assert outcomes[0].score != outcomes[1].score


@pytest.mark.parametrize("epoch", [1, 2], ids=["between the stages", "after training"])
def test_a_run_that_was_interrupted_goes_on_to_the_same_numbers(plain: rs.Run, tmp_path: Path, epoch: int) -> None:
    asked = iter([False] * (epoch - 1) + [True])
    folder = open_folder(tiny(), tmp_path)
    with pytest.raises(rs.Interrupted, match=f"after epoch {epoch}"):
        list(walk(tiny(), folder, lambda: next(asked)))
    assert folder.read_json("status.json")["state"] == "interrupted"
    run = rs.run(tiny(), out=tmp_path, resume=folder.path)
    assert run.status == "done"
    assert equal(weights(run), weights(plain))
    assert timeless(run.metrics) == timeless(plain.metrics)
    pd.testing.assert_frame_equal(run.history.drop(columns="seconds"), plain.history.drop(columns="seconds"))
    stored = [r.folder.read_tensors("development.safetensors") for r in (run, plain)]
    assert equal(*stored)


def test_a_run_with_other_settings_is_not_resumed(plain: rs.Run) -> None:
    with pytest.raises(rs.ConfigError, match=r"trainer.stages|configuration changed"):
        rs.run(tiny("trainer.stages.0.epochs=2"), resume=plain.path)


def test_without_keep_data_no_sequence_is_written(tmp_path: Path) -> None:
    run = carried_out(tiny("keep_data=false"), tmp_path)
    assert not (run.path / "data/data.npz").exists()
    for path in run.path.rglob("*.npz"):
        with np.load(path) as arrays:
            shapes = {name: array.shape for name, array in arrays.items()}
        assert not [name for name, shape in shapes.items() if "symbols" in name or shape[:2] == (COUNT, STEPS)], path.name
    assert run.status == "done"
    assert run.sample(2, 3).sampled.shape == (2, 3)
    assert len(run.data.train) == 30


def test_several_networks_are_compared_in_one_run_and_the_chosen_one_is_said(tmp_path: Path) -> None:
    small = tiny().models["relu"]
    run = carried_out(
        tiny().but(models={"relu": small, "tanh": small.but(nonlinearity="tanh"), "gru": rs.GRU(hidden_size=3)}), tmp_path
    )
    models = run.metrics["models"]
    assert list(models) == ["relu", "tanh", "gru"]
    scores = {name: entry["training"]["score"] for name, entry in models.items()}
    assert run.best_model() == min(scores, key=scores.get)
    assert len(run.metrics["tables"][0]["rows"]) == 6 + 4
    assert run.sample(2, 3, model="gru").sampled.shape == (2, 3)


# batches and comparisons


def test_a_batch_of_two_presets_leaves_two_runs_and_a_comparison(tmp_path: Path) -> None:
    found = json.loads(succeeds("batch", "hmm-chain-2-quick", NAME, *words(WITHOUT), "--out", tmp_path, "--json").out)
    folder = Path(found["folder"])
    assert [row["name"] for row in found["runs"]] == ["hmm-chain-2-quick", NAME]
    assert all(row["verdict"] and row["error"] is None for row in found["runs"])
    assert strict_json(folder / "batch.json")["runs"] == found["runs"]
    assert len(run_folders(folder)) == 2
    table = pd.read_csv(folder / "comparison.csv")
    assert {"model", "baseline"} <= set(table["kind"])
    assert table["run"].nunique() == 2
    assert "not comparable" in (folder / "comparison.html").read_text()


def test_compare_shows_the_headlines_of_emulations(plain: rs.Run, repeated: rs.Run, tmp_path: Path) -> None:
    out = succeeds("compare", plain.path, repeated.path, "--out", tmp_path / "c").out
    table = pd.read_csv(tmp_path / "c/comparison.csv")
    keys = [h["key"] for h in plain.metrics["headlines"]]
    assert set(keys) <= set(table.columns)
    for run in (plain, repeated):
        row = table[(table["run"] == run.path.name) & (table["name"] == "relu")].iloc[0]
        for one in run.metrics["headlines"]:
            assert row[one["key"]] == pytest.approx(run.metrics["models"]["relu"][one["part"]][one["score"]])
    assert "relu" in out
    assert "not comparable" not in (tmp_path / "c/comparison.html").read_text()  # the same data
    assert {p.suffix for p in (tmp_path / "c").iterdir()} == {".csv", ".png", ".svg", ".html"}


def test_an_emulation_beside_a_forecast_leaves_fields_empty(plain: rs.Run, tmp_path: Path) -> None:
    series = run_tiny(tmp_path / "runs")
    succeeds("compare", plain.path, series.path, "--out", tmp_path / "c")
    table = pd.read_csv(tmp_path / "c/comparison.csv").set_index(["run", "name"])
    assert np.isnan(table.loc[(plain.path.name, "relu"), "rmse"])
    assert np.isnan(table.loc[(series.path.name, "gru"), "divergence_ratio"])


# matrices of one's own


MATRIX, EMISSION = "[[0.9, 0.1], [0.2, 0.8]]", "[[0.7, 0.2, 0.1, 0.0], [0.0, 0.1, 0.2, 0.7]]"
QUICK_FIELDS = [a for a in WITHOUT if "num_sequences=90" not in a]


@pytest.mark.usefixtures("unchecked")
def test_matrices_from_the_command_line_are_emulated(tmp_path: Path) -> None:
    own = [f"task.transition_matrix={MATRIX}", f"task.emission_probs={EMISSION}", "task.num_states=null"]
    order = [*own, "task.num_sequences=90", *QUICK_FIELDS]
    found = json.loads(succeeds("run", "hmm", *words(order), "--out", tmp_path, "--json").out)
    run = rs.open_run(found["run"])
    np.testing.assert_allclose(run.data.hmm.transition_matrix, json.loads(MATRIX))
    np.testing.assert_allclose(run.data.hmm.emission_probs, json.loads(EMISSION))
    assert run.data.signature.output_size == 4
    assert run.sample(2, 3).logits.shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("assignments", "named"),
    [
        (["task.transition_matrix=[[0.9, 0.2], [0.2, 0.8]]"], "row 0 of transition_matrix sums to 1.1"),
        (["task.transition_matrix=[[1.1, -0.1], [0.2, 0.8]]"], "negative value -0.1"),
        (["task.transition_matrix=[[0.5, 0.5]]"], "transition_matrix has shape (1, 2)"),
        (["task.transition_matrix=[[0.5, 0.5], [1.0]]"], "rows of lengths [2, 1]"),
        (["task.transition_matrix=[]"], "task.transition_matrix"),
        (["task.transition_matrix=0.5"], "transition_matrix"),
        (["task.transition_matrix=[[a, b], [c, d]]"], "transition_matrix"),
        (["task.transition_matrix=[[.nan, 1], [0.5, 0.5]]"], "transition_matrix"),
        ([f"task.transition_matrix={MATRIX}", "task.emission_probs=[[0.5, 0.5]]"], "emission_probs has shape (1, 2)"),
        ([f"task.transition_matrix={MATRIX}", "task.emission_probs=[[0.5, 0.6], [0.5, 0.5]]"], "row 0 of emission_probs"),
        (["task.num_states=9", "task.transition=end_to_end"], "9 states cannot be walked"),
        (["task.transition=circular"], "transition"),
        (["task.stay_probability=1.5"], "stay_probability"),
        (["task.initial_probs=[0.5, 0.4, 0.2]"], "initial_probs sums to 1.1"),
        (["task.noise_size=0"], "noise_size"),
        (["trainer.stages.2.epochs=3"], "trainer.stages.2.epochs=3"),
        (["trainer.kind=bptt"], "bptt needs a target"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_emulated_is_refused(tmp_path: Path, assignments: list[str], named: str) -> None:
    answer = cli("run", "hmm", *words(assignments), "--out", tmp_path)
    assert answer.crash is None, repr(answer.crash)
    assert answer.code == 2
    assert named in answer.err
    assert "expected:" in answer.err
    assert unfinished(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "assignments"),
    [
        pytest.param(NAME, ["evaluation.kind=forecasting"], id="forecasts of symbols"),
        pytest.param(
            "sine-quick", ["evaluation.kind=emulation", "trainer.epochs=1", "task.num_points=120"], id="emulation of a series"
        ),
    ],
)
def test_an_evaluation_that_does_not_fit_the_task_is_refused(tmp_path: Path, name: str, assignments: list[str]) -> None:
    sizes = [a for a in WITHOUT if not a.startswith("evaluation")] if name == NAME else []
    answer = cli("run", name, *words([*sizes, *assignments]), "--out", tmp_path)
    assert (answer.code, answer.crash) == (2, None)


@pytest.mark.parametrize(
    "assignments",
    [["evaluation.num_steps=1"], ["task.num_steps=3", "trainer.stages.0.word=2"], ["evaluation.word=13"]],
    ids=["one step", "words longer than the task's sequences", "words longer than the sequences"],
)
def test_sequences_too_short_to_compare_are_refused(tmp_path: Path, assignments: list[str]) -> None:
    sizes = [a for a in WITHOUT if not a.endswith(f"num_steps={STEPS}")]
    steps = [a for a in assignments if a.startswith("task")] or [f"task.num_steps={STEPS}"]
    stages = [f"trainer.stages.{n}.num_steps=null" for n in (0, 1)]
    answer = cli("run", NAME, *words([*stages, *steps, *sizes, *assignments]), "--out", tmp_path)
    assert answer.crash is None, repr(answer.crash)
    assert answer.code == 2
