"""Scores of predictions of the next character, the verdict in words, and the run that shows both."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnscope as rs
from helpers import cli, strict_json
from rnnscope.core.interfaces import ModelResult
from rnnscope.core.random import Streams
from rnnscope.core.text import text_data
from rnnscope.evaluation.text import clearly, model_verdict
from rnnscope.evaluation.text_scores import Answers, best_ngram, block_means, difference, network_answers, result_of
from rnnscope.experiment import with_overrides

SHARES = {"validation_share": 0.2, "test_share": 0.2}
QUICK = ["trainer.epochs=30", "analyses={}"]


@pytest.fixture(scope="module")
def data() -> rs.TextData:
    words = np.random.default_rng(0).choice(["one ", "two ", "three "], 800)
    return text_data("".join(words), window=16, **SHARES)


class Bigram(rs.System):
    """A network that knows the counts of pairs: its state is the last symbol, its outputs their log-probabilities."""

    def __init__(self, data: rs.TextData) -> None:
        symbols, count = data.symbols_of("train"), len(data.vocabulary)
        table = np.ones((count, count))
        np.add.at(table, (symbols[:-1], symbols[1:]), 1)
        logits = torch.from_numpy(np.log(table / table.sum(1, keepdims=True))).float()
        super().__init__(lambda h, x: x, count, count, readout=lambda h: h @ logits, output_size=count)
        self.table = table


class Holder(rs.SequenceModel):
    """A model around a system, with or without telling of it."""

    def __init__(self, system: rs.DynamicalSystem, tells: bool = True) -> None:
        super().__init__()
        self.system, self.tells, self.unused = system, tells, nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, *, rng=None, last: int | None = None) -> Tensor:
        found = rs.rollout(self.system, inputs).outputs
        return found if last is None else found[:, -last:]

    def systems(self) -> dict[str, rs.DynamicalSystem]:
        return {"network": self.system} if self.tells else {}


def test_bits_are_those_of_the_probabilities_given(data: rs.TextData) -> None:
    system = Bigram(data)
    found = network_answers(Holder(system), data, "test", 10**6)
    symbols = np.concatenate([data.context_of("test", 1), data.symbols_of("test")])
    p = system.table / system.table.sum(1, keepdims=True)
    np.testing.assert_allclose(found.bits, -np.log2(p[symbols[:-1], symbols[1:]]), rtol=1e-5)
    np.testing.assert_array_equal(found.best, p[symbols[:-1]].argmax(1))


def test_a_model_without_a_state_is_scored_on_windows(data: rs.TextData) -> None:
    system = Bigram(data)
    stream, windows = (network_answers(Holder(system, tells), data, "test", 10**6) for tells in (True, False))
    np.testing.assert_allclose(windows.bits, stream.bits[: len(windows.bits)], rtol=1e-5)


def test_the_state_is_carried_through_the_part_whatever_the_chunks(data: rs.TextData, monkeypatch: pytest.MonkeyPatch) -> None:
    model = rs.GRU(hidden_size=5, num_layers=1).build(data.signature, torch.Generator().manual_seed(0)).eval()
    whole = network_answers(model, data, "test", 10**6)
    monkeypatch.setattr("rnnscope.evaluation.text_scores.CHUNK", 37)
    np.testing.assert_allclose(network_answers(model, data, "test", 10**6).bits, whole.bits, rtol=1e-4)


def test_scores_of_certainty_and_of_guessing(data: rs.TextData) -> None:
    wanted = {p: data.symbols_of(p) for p in ("validation", "test")}
    sure = result_of({p: Answers(np.zeros(len(w)), w) for p, w in wanted.items()}, data, 10**6)
    assert sure.scores["test"] == {"bits": 0.0, "perplexity": 1.0, "accuracy": 1.0}
    size = math.log2(len(data.vocabulary))
    blind = result_of({p: Answers(np.full(len(w), size), w * 0) for p, w in wanted.items()}, data, 10**6)
    assert blind.scores["test"]["perplexity"] == pytest.approx(len(data.vocabulary))


def test_blocks_are_whole_and_their_mean_is_the_mean() -> None:
    values = np.random.default_rng(0).random(10_000)
    assert len(block_means(values)) == 100
    assert block_means(values).mean() == pytest.approx(values.mean())
    assert len(block_means(values[:120])) == 2
    assert len(block_means(values[:3])) == 1


def test_references_improve_with_order_and_the_best_is_chosen_on_validation(data: rs.TextData) -> None:
    found = rs.TextScores().references(data, Streams(0))
    bits = [found[f"ngram{k}"].scores["test"]["bits"] for k in range(1, 5)]
    assert found["uniform"].scores["test"]["bits"] == pytest.approx(math.log2(len(data.vocabulary)))
    assert found["uniform"].scores["test"]["bits"] > bits[0] > bits[1] > bits[2]
    best = best_ngram(found)
    assert all(
        found[best].scores["validation"]["bits"] <= r.scores["validation"]["bits"] for n, r in found.items() if n != "uniform"
    )


def judged(own: float, other: float, spread: float = 0.01, accuracy: float = 0.5) -> tuple[str, int]:
    data = text_data("abcab" * 4000, window=16, **SHARES)
    count = len(data.symbols_of("test"))
    rng = np.random.default_rng(1)

    def answerer(bits: float, share: float) -> ModelResult:
        right = np.where(np.arange(count) < share * count, data.symbols_of("test"), 9)
        answers = {"test": Answers(bits + spread * rng.standard_normal(count), right)}
        answers["validation"] = Answers(answers["test"].bits, right)
        return result_of(answers, data, 10**6)

    mine, ngram = answerer(own, accuracy), answerer(other, accuracy)
    verdict = model_verdict([mine], 0, {"uniform": ngram, "ngram2": ngram}, data, 2)
    return verdict, clearly(*difference(mine, ngram))


def test_the_verdict_follows_the_numbers() -> None:
    assert "it beats the best n-gram (2-gram, from 1 character" in judged(2.0, 2.2)[0]
    assert judged(2.0, 2.2)[1] == 1
    assert "2 bits per character against 2.2, 0.2 less" in judged(2.0, 2.2)[0]
    assert "it loses to the best n-gram" in judged(2.2, 2.0)[0]
    assert "0.2 more (95 %" in judged(2.2, 2.0)[0]
    assert "not clearly different" in judged(2.0, 2.0, spread=5.0)[0]


def test_where_both_are_always_right_smoothing_decides_nothing() -> None:
    verdict, _ = judged(0.001, 0.02, spread=1e-5, accuracy=1.0)
    assert "it equals the n-grams: both name all of the 4,000 characters" in verdict
    assert "beats" not in verdict


# whole runs


@pytest.fixture(scope="module")
def abac(tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    return rs.run("characters-abac-quick", out=tmp_path_factory.mktemp("runs"), set=["analyses={}"])


def test_a_small_network_learns_abac_and_writes_it_without_a_mistake(abac: rs.Run) -> None:
    scores = abac.metrics["models"]["elman"]
    assert scores["test"]["accuracy"] == 1.0
    assert scores["free_run"] == {"right": 1.0, "until_wrong": 100.0, "characters": 100.0}
    assert abac.metrics["needed_memory"] == 2
    assert abac.metrics["baselines"]["ngram2"]["test"]["accuracy"] < 1.0
    assert abac.metrics["baselines"]["ngram3"]["test"]["accuracy"] == 1.0
    assert "free run: 100 of 100 characters right" in abac.verdict


def test_the_report_shows_strings_maps_and_the_checklist(abac: rs.Run) -> None:
    page = abac.report.read_text(encoding="utf-8")
    for wanted in ("abacabacabac", "Success checklist", "100 of 100 characters right", "a: 0, b: 1, c: 2", "Needed memory"):
        assert wanted in page
    names = [f["name"] for f in abac.folder.read_json("figures/figures.json")]
    assert names == ["predictions", "orders", "training"]
    assert {"train_accuracy", "validation_accuracy"} <= set(abac.history.columns)


def test_a_trained_network_writes_from_python_and_from_the_command_line(abac: rs.Run, tmp_path: Path) -> None:
    made = abac.write_text(20, prompt="abac", temperature=0.0)
    assert made.texts == (("abac" * 5),)
    assert cli("sample", abac.path, "--prompt", "abac", "--length", 8, "--temperature", 0).out.strip() == "abac" * 3
    told = json.loads(cli("sample", abac.path, "--length", 9, "--num-sequences", 3, "--seed", 4, "--json").out)
    assert [len(text) for text in told["texts"]] == [9, 9, 9]
    for name in ("out.txt", "out.json"):
        assert (
            "2 texts of 9 characters"
            in cli("sample", abac.path, "--length", 9, "--num-sequences", 2, "--out", tmp_path / name).out
        )
    assert len(json.loads((tmp_path / "out.json").read_text())) == 2


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--prompt", "abx"], "the character 'x' at position 3"),
        (["--length", 0], "1 texts of 0 characters"),
        (["--num-sequences", 0], "0 texts"),
        (["--temperature", -1], "temperature -1"),
        (["--top-k", -2], "top_k -2"),
        (["--seed", -1], "seed -1"),
        (["--out", "texts.npz"], "--out ends in '.npz'"),
    ],
)
def test_bad_options_end_with_three_parts(abac: rs.Run, options: list, found: str) -> None:
    ended = cli("sample", abac.path, *options)
    assert ended.code == 2
    assert found in ended.err
    assert "expected:" in ended.err
    assert "Traceback" not in ended.err


def test_a_prompt_longer_than_training_looked_back_is_read_and_noted(abac: rs.Run) -> None:
    made = abac.write_text(8, prompt="abac" * 30, temperature=0.0)
    assert made.texts == ("abacabac",)
    assert "looked back over 20" in made.note
    assert "looked back over 20" in cli("sample", abac.path, "--prompt", "abac" * 30, "--length", 4).out


def test_a_run_of_text_has_no_forecast_and_a_run_of_a_series_no_text(abac: rs.Run, tmp_path: Path) -> None:
    with pytest.raises(rs.ConfigError, match="no forecasting task"):
        abac.forecast(3)
    with pytest.raises(rs.ConfigError, match="generates no sequences"):
        abac.sample(3, 3)


def test_the_evaluation_refuses_other_data(small: rs.Experiment, tmp_path: Path) -> None:
    with pytest.raises(rs.ConfigError, match="the evaluation text needs a text"):
        rs.run(small.but(evaluation=rs.TextScores()), out=tmp_path)


def test_a_text_run_scores_samples_and_repeats(tmp_path: Path) -> None:
    quick = rs.preset("text-quick")
    changes = ["task.most_characters=6000", "task.window=16", "models.lstm.hidden_size=8", "trainer.epochs=2", "analyses={}"]
    changes += ["num_seeds=2", "evaluation.sample_length=40", "evaluation.order=3", "trainer.epoch_steps=5"]
    run = rs.run(with_overrides(quick, changes), out=tmp_path)
    strict_json(run.path / "metrics.json")
    assert "over 2 repeats" in run.verdict
    assert run.folder.read_arrays("findings/evaluation.npz")["lstm/0/samples"].shape == (3, 40)
    assert [f["name"] for f in run.folder.read_json("figures/figures.json")][-2:] == ["surprise", "samples"]
    assert len(run.write_text(30, prompt="The ", top_k=5).texts[0]) == 30


def test_any_script_and_control_characters_can_be_drawn(tmp_path: Path) -> None:
    file = tmp_path / "signs.txt"
    file.write_text("漢字🙂$a_b\t\x07<b>&\u200b\n" * 40, encoding="utf-8")
    changes = [f"task.path={file}", "task.window=8", "models.lstm.hidden_size=4", "trainer.epochs=1", "trainer.epoch_steps=3"]
    run = rs.run("text-quick", out=tmp_path, set=[*changes, "task.most_characters=0", "evaluation.order=2"])
    page = run.report.read_text(encoding="utf-8")
    assert "漢" in page
    assert "<b>" not in page.partition("<h2>Scores")[2].partition("Models and training")[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["characters", "characters-abac", "characters-hello"])
def test_five_seeds_of_every_string_end_without_a_mistake(name: str, tmp_path: Path) -> None:
    run = rs.run(name, out=tmp_path, set=["num_seeds=5", "analyses={}"])
    for seed in run.metrics["models"]["elman"]["seeds"]:
        assert seed["test"]["accuracy"] == seed["free_run"]["right"] == 1.0
