"""Scores of classifiers, the baselines beside them, the sentences about them, and the run that shows all of it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnscope as rs
from helpers import cli, strict_json, without_drawing
from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import History, Signature, TrainingOutcome
from rnnscope.core.labelled import LabelledData, LabelledSet, labelled_set
from rnnscope.core.random import Streams
from rnnscope.evaluation.classification import Classification
from rnnscope.evaluation.classification_baselines import baseline_answers, summaries
from rnnscope.evaluation.classification_examples import choose_examples
from rnnscope.evaluation.classification_scores import Answers, best_trivial, network_answers, result_of, standing
from rnnscope.evaluation.classification_verdict import independence, least_p
from rnnscope.plotting import render
from rnnscope.tasks.patterns import KINDS

QUICK = Classification(permutations=499, latest=(2,))


def made(count: int, classes: int = 2, seed: int = 0, *, unequal: bool = False, noise: bool = False, **fields) -> LabelledSet:
    """Sequences whose class is where, of so many equal stretches, the only large value stands."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(0, 0.1, (count, 12, 2))
    labels = np.arange(count) % classes
    inputs[np.arange(count), labels * (12 // classes) + rng.integers(0, 12 // classes, count), 0] = 3.0
    lengths = None
    if unequal:
        inputs, lengths = np.concatenate([inputs, rng.normal(0, 0.1, (count, 8, 2))], 1), rng.integers(12, 21, count)
    if noise:
        labels = rng.permutation(labels)
    return labelled_set(inputs, labels, lengths=lengths, **fields)


def data_of(train: LabelledSet, test: LabelledSet, classes: int = 2, **fields) -> LabelledData:
    return LabelledData(
        train=train,
        validation=None,
        tests={"test": test},
        class_names=tuple(f"class {k}" for k in range(classes)),
        input_names=("x", "y"),
        **fields,
    )


class Where(rs.SequenceModel):
    """Knows the answer: the stretch in which the largest value stands; `sure` is how much it trusts it."""

    def __init__(self, classes: int, sure: float = 6.0, constant: int | None = None, real: int = 12) -> None:
        super().__init__()
        self.classes, self.constant, self.real, self.sure = classes, constant, real, nn.Parameter(torch.tensor(sure))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, *, rng=None, last: int | None = None) -> Tensor:
        stretch = inputs[:, : self.real, 0].argmax(1) // (self.real // self.classes)
        if self.constant is not None:
            stretch = torch.full_like(stretch, self.constant)
        return self.sure * nn.functional.one_hot(stretch, self.classes).float()[:, None]

    def systems(self) -> dict[str, rs.DynamicalSystem]:
        return {}


def history(score: float = 0.1) -> History:
    columns = {"epoch": np.arange(1, 4.0)} | {
        f"{p}_{q}": np.linspace(0.9, 0.3, 3) for p in ("train", "validation") for q in ("loss", "accuracy", "recall")
    }
    return History(columns, TrainingOutcome("completed", 3, score, "validation loss", 1.0))


def evaluated(data: LabelledData, models: dict[str, list[rs.SequenceModel]], spec: Classification = QUICK):
    """References, results and conclusion."""
    spec.check(data)
    references = spec.references(data, Streams(0))
    results = {n: [spec.score(m, data, Streams(i)) for i, m in enumerate(repeats)] for n, repeats in models.items()}
    histories = {n: [history(0.1 * (1 + i)) for i, _ in enumerate(repeats)] for n, repeats in models.items()}
    return references, results, histories, spec.conclude(data, references, results, histories)


def verdict(data: LabelledData, *models: rs.SequenceModel) -> str:
    return evaluated(data, {"net": list(models)})[3].metrics["verdict"]


# scores


@pytest.mark.parametrize("classes", [2, 4])
def test_a_model_that_knows_the_answer_has_perfect_scores(classes):
    data = data_of(made(80, classes), made(40, classes, 1), classes)
    scores = QUICK.score(Where(classes), data, Streams(0)).scores["test"]
    assert [scores[k] for k in ("accuracy", "balanced_accuracy", "mcc", "macro_f1", "auc")] == [1] * 5
    assert scores["p_independent"] == 1 / 500
    assert scores["accuracy_low"] < 1


def test_scores_do_not_depend_on_what_pads_or_on_the_size_of_batches(monkeypatch):
    part = made(30, unequal=True)
    model = rs.LSTM(hidden_size=5, num_layers=1).build(Signature(2, 2), torch.Generator().manual_seed(0))
    whole = network_answers(model, part).probabilities
    monkeypatch.setattr("rnnscope.core.labelled.MOST_VALUES", 100)
    np.testing.assert_allclose(network_answers(model, part).probabilities, whole, atol=1e-6)
    for row in range(4):
        alone = part.take(np.array([row]))
        np.testing.assert_allclose(network_answers(model, alone).probabilities[0], whole[row], atol=1e-6)


def test_kinds_are_scored_apart_also_small_ones():
    kinds = np.array([0] * 20 + [1] * 17 + [2] * 3)
    data = data_of(made(40), made(40, seed=1, kinds=kinds), kind_names=("p", "q", "r"))
    decided = data.tests["test"].labels.numpy().copy()
    decided[20:25] = 1 - decided[20:25]
    decided[37:] = 1 - decided[37:]
    scores = result_of({"test": Answers(decided)}, data, np.random.default_rng(0), 99).scores
    assert scores["test by kind"] == {"p": 1.0, "q": pytest.approx(12 / 17), "r": 0.0}
    assert scores["test"]["worst_kind"] == 0


# baselines


def test_summaries_know_no_order_and_no_padding():
    part = made(20, unequal=True)
    values = summaries(part)
    rows = [part.inputs[n, : int(part.lengths[n])].numpy() for n in range(20)]
    expected = [np.concatenate([r.mean(0), r.std(0), r.min(0), r.max(0), [len(r)]]) for r in rows]
    np.testing.assert_allclose(values, expected, atol=1e-5)
    whole = made(20)
    turned = labelled_set(whole.inputs.numpy()[:, ::-1].copy(), whole.labels.numpy())
    np.testing.assert_allclose(summaries(turned), summaries(whole), atol=1e-6)


def test_what_needs_order_is_guessed_by_summaries_and_found_by_all_inputs_in_a_row():
    data = data_of(made(400), made(300, seed=1))
    found = baseline_answers(data, (2, 50), 1.0)
    labels = data.tests["test"].labels.numpy()
    right = {name: (answers["test"].decided == labels).mean() for name, answers in found.items()}
    assert list(found) == ["majority", "summaries", "latest2", "latest12"]
    assert right["summaries"] < 0.6
    assert right["latest12"] > 0.97


def test_baselines_are_fitted_on_the_training_part_alone():
    one, other = made(60), made(30, seed=1)
    first = baseline_answers(data_of(one, other), (3,), 1.0)
    second = baseline_answers(data_of(one, made(30, seed=2)), (3,), 1.0)
    for name, answers in first.items():
        np.testing.assert_allclose(answers["train"].probabilities, second[name]["train"].probabilities)


def test_probabilities_of_baselines_sum_to_one_also_where_training_lacks_a_class():
    data = data_of(made(40, 2), made(20, 2, 1), classes=5)
    for answers in baseline_answers(data, (3,), 1.0).values():
        np.testing.assert_allclose(answers["test"].probabilities.sum(1), 1)
        assert answers["test"].probabilities.shape == (20, 5)


def test_inputs_that_never_vary_leave_the_majority_class():
    still = labelled_set(np.ones((10, 3, 2)), np.arange(10) % 2)
    for answers in baseline_answers(data_of(still, still), (2,), 1.0).values():
        assert len(np.unique(answers["test"].decided)) == 1


def test_rules_compete_and_the_exact_one_does_not():
    train, test = made(40), made(40, seed=1)
    rules = [{"exact": p.labels.numpy(), "guess": np.zeros(40, int)} for p in (train, test)]
    data = data_of(made(40, rules=rules[0]), made(40, seed=1, rules=rules[1]), exact="exact")
    references = QUICK.references(data, Streams(0))
    assert references["exact"].scores["test"]["accuracy"] == 1
    assert best_trivial("test", references, data) != "exact"
    assert "cross_entropy" not in references["guess"].scores["test"]


# verdicts


def test_a_model_that_learned_beats_every_baseline():
    data = data_of(made(80), made(100, seed=1))
    text = verdict(data, Where(2))
    assert "it beats every baseline" in text
    assert "balanced accuracy 100 % against" in text
    assert "nothing to learn" not in text


def test_one_answer_to_everything_equals_the_majority_class():
    rng = np.random.default_rng(0)
    labels = (rng.random(200) < 0.97).astype(int)
    part = labelled_set(rng.standard_normal((200, 4, 2)), labels)
    text = verdict(data_of(part, part), Where(2, constant=1, real=4))
    assert "It answers 'class 1' to everything, and so equals the majority class" in text
    assert "balanced accuracy 50.0 %" in text


def test_labels_independent_of_the_inputs_are_told_with_their_p_value():
    data = data_of(made(60, 4, noise=True), made(60, 4, 1, noise=True), 4)
    references, results, _, evaluation = evaluated(data, {"net": [Where(4)]})
    p = results["net"][0].scores["test"]["p_independent"]
    assert p > 0.05
    assert f"labels show no relation to the inputs, p = {p:.2g}" in evaluation.metrics["verdict"]
    assert standing(results["net"][0], references, "test", data) <= 0


def test_a_model_that_learned_nothing_where_there_is_something_is_told_so():
    train, test = made(200), made(200, seed=1)
    rules = [{"by hand": p.labels.numpy()} for p in (train, test)]
    data = data_of(made(200, rules=rules[0]), made(200, seed=1, rules=rules[1]), exact="by hand")
    wrong = Where(2)
    wrong.real = 2
    text = verdict(data, wrong)
    assert "It learned nothing that carries over, though there is something to learn" in text
    assert "'by hand' gets a balanced accuracy of 100 %" in text


def test_probabilities_that_rank_the_classes_are_not_called_nothing_learned():
    data = data_of(made(80), made(80, seed=1))
    answers = {part: network_answers(Where(2), held) for part, held in (("train", data.train), ("test", data.tests["test"]))}
    shifted = {}
    for part, one in answers.items():
        rare = 0.5 * one.probabilities[:, 1] ** 2  # right order, never the larger of the two
        shifted[part] = Answers(np.stack([1 - rare, rare], 1).argmax(1), np.stack([1 - rare, rare], 1))
    result = result_of(shifted, data, np.random.default_rng(0), 499)
    references = QUICK.references(data, Streams(0))
    (sentence,) = independence(result, references, data)
    assert "rank the classes" in sentence
    assert "nothing that carries over" not in sentence


def test_repeats_give_median_and_range_and_how_many_beat_the_baselines():
    data = data_of(made(80), made(100, seed=1))
    text = verdict(data, Where(2), Where(2), Where(2, constant=0))
    assert "over 3 repeats the median (range) of the balanced accuracy is 100 % (50.0 % to 100 %)" in text.lower()
    assert "2 of 3 beat every baseline" in text


def test_a_handful_of_test_sequences_is_no_proof():
    data = data_of(made(80), made(6, seed=1))
    assert least_p(data) == pytest.approx(1 / 20)
    text = verdict(data, Where(2))
    assert "too few sequences (6)" in text
    assert "it is not clearly different from the best baseline" in text


def test_other_models_are_told_beside_the_chosen_one():
    data = data_of(made(80), made(100, seed=1))
    _, _, _, evaluation = evaluated(data, {"one": [Where(2)], "two": [Where(2, constant=0)]})
    assert "Balanced accuracy of the others: two 50.0 % on the test part." in evaluation.metrics["verdict"]


# tables and figures


def test_the_classification_report_is_that_of_scikit_learn():
    from sklearn.metrics import classification_report

    data = data_of(made(60, 3, noise=True), made(60, 3, 1, noise=True), 3)
    _, results, _, evaluation = evaluated(data, {"net": [Where(3)]})
    table = evaluation.tables[-1]
    labels, decided = data.tests["test"].labels.numpy(), results["net"][0].arrays["test_decided"]
    theirs = classification_report(labels, decided, target_names=data.class_names, output_dict=True)
    names = {"macro mean": "macro avg", "weighted mean": "weighted avg"}
    for row in table.rows:
        other = theirs[names.get(row.name, row.name)]
        for ours, key in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score"), ("support", "support")):
            assert row.values[ours] == pytest.approx(other[key])


@pytest.mark.parametrize("classes", [2, 3, 12])
@pytest.mark.parametrize("unequal", [False, True])
def test_every_figure_is_drawn_for_one_model_and_for_several(classes, unequal):
    fields = {"kinds": np.arange(48) % 2}
    data = data_of(
        made(48, classes, unequal=unequal),
        made(48, classes, 1, unequal=unequal, **fields),
        classes,
        kind_names=("$odd$", "even"),
    )
    for models in ({"a": [Where(classes)]}, {"a": [Where(classes)] * 2, "b": [Where(classes, constant=0)] * 2}):
        references, results, histories, evaluation = evaluated(data, models)
        figures = list(QUICK.figures(data, references, results, histories, evaluation))
        names = [figure.name for figure in figures]
        assert names == ["training", "confusion", *(["lengths"] if unequal else []), "kinds", "roc", "calibration", "examples"]
        if not unequal and classes != 3:
            assert all(len(render(figure.canvas, "svg")) > 1000 for figure in figures)


@pytest.mark.parametrize(("count", "said"), [(3, False), (5, True)])
def test_the_caption_of_the_confusion_says_where_not_every_model_is_drawn(count, said):
    part = labelled_set(np.random.default_rng(0).random((12, 3, 2)), np.arange(12) % 2)
    data = LabelledData(
        train=part, validation=None, tests={"test": part}, class_names=("a", "b"), input_names=("x", "y")
    )  # fmt: skip
    models = {f"net{k}": [Where(2, constant=0, real=2)] for k in range(count)}
    references, results, histories, evaluation = evaluated(data, models)
    figures = {f.name: f for f in QUICK.figures(data, references, results, histories, evaluation)}
    assert ("The first 3 of 5 models." in figures["confusion"].caption) == said


def test_frames_are_drawn_as_pictures():
    rng = np.random.default_rng(0)
    part = labelled_set(rng.random((12, 3, 48)), np.arange(12) % 2)
    data = LabelledData(
        train=part, validation=None, tests={"test": part}, class_names=("a", "b"),
        input_names=tuple(f"pixel {k}" for k in range(48)), frame=(3, 4, 4),
    )  # fmt: skip
    references, results, histories, evaluation = evaluated(data, {"net": [Where(2, constant=0, real=2)]})
    figures = list(QUICK.figures(data, references, results, histories, evaluation))
    assert render(figures[-1].canvas, "svg")


def test_examples_are_certain_mistakes_first_then_right_answers_of_each_class_in_turn():
    labels = np.array([0, 0, 1, 1, 0, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.1, 0.9], [0.7, 0.3], [0.3, 0.7]])
    assert choose_examples(labels, probabilities, 4) == [2, 1, 0, 3]
    assert choose_examples(labels, np.eye(2)[labels], 3) == [0, 2, 1]


# the trainer and the run


def test_one_answer_per_sequence_and_a_loss_at_every_step_do_not_go_together():
    data = data_of(made(20), made(20))
    model = rs.LSTM(hidden_size=3, num_layers=1).build(data.signature, torch.Generator().manual_seed(0))
    with pytest.raises(ConfigError, match="this task asks for one answer per sequence"):
        rs.BPTT(count="all").start(model, data, Streams(0))


def test_other_data_are_refused():
    with pytest.raises(ConfigError, match="one label each"):
        Classification().check(rs.FlipFlop(num_train=2, num_validation=2, num_test=2, num_long=0).prepare(Streams(0)))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> rs.Run:
    changes = ["task.num_sequences=200", "task.num_further=40", "trainer.epochs=2", "models.lstm.hidden_size=4", "num_seeds=2"]
    with without_drawing():
        return rs.run("pattern-quick", out=tmp_path_factory.mktemp("runs"), set=[*changes, "analyses={}"])


def test_a_run_records_accuracy_and_recall_of_every_part_and_epoch(run):
    assert run.status == "done"
    for part in ("train", "validation", "test"):
        for rate in ("accuracy", "recall"):
            values = run.history[f"{part}_{rate}"]
            assert values.between(0, 1).all()
            assert len(values) == 4


def test_a_run_leaves_its_scores_tables_and_headlines(run):
    metrics = run.metrics
    assert metrics["ceilings"] == ["the automaton of 4 states"]
    assert metrics["baselines"]["the automaton of 4 states"]["length 200"]["balanced_accuracy"] == 1
    assert set(metrics["models"]["lstm"]["test by kind"]) <= set(KINDS)
    assert [t["title"] for t in metrics["tables"]][-1] == "Classification report of lstm, test part"
    assert len(metrics["models"]["lstm"]["seeds"]) == 2
    strict_json(run.folder.path / "metrics.json")
    frame = rs.compare([run.path, run.path])
    assert {"balanced_accuracy", "mcc", "length_200_balanced_accuracy", "worst_kind"} <= set(frame.columns)


def test_the_command_line_refuses_a_loss_at_every_step_in_words(tmp_path):
    answer = cli("run", "pattern-quick", "--out", tmp_path, "--set", "trainer.count=all", "--set", "task.num_sequences=100")
    assert answer.code == 2
    assert "set trainer.count=last" in answer.err
    assert answer.crash is None


@pytest.mark.parametrize("count", [1, 3])
def test_a_tiny_test_part_that_lacks_classes_is_scored_and_drawn_all_the_same(count):
    data = data_of(made(60, 5, unequal=True), made(count, 5, 1, unequal=True), 5)
    references, results, histories, evaluation = evaluated(data, {"net": [Where(5, real=10)]})
    assert evaluation.metrics["verdict"]
    assert all(np.isfinite(v) for v in results["net"][0].scores["test"].values())
    assert "Classes that the test part does not have" in evaluation.tables[-1].note
    for figure in QUICK.figures(data, references, results, histories, evaluation):
        assert render(figure.canvas, "svg")


def test_sequences_of_one_step_are_points_to_classify():
    rng = np.random.default_rng(0)
    inputs = rng.uniform(0, 1, (80, 1, 2))
    part = labelled_set(inputs, (inputs[:, 0].sum(1) > 1).astype(int))
    data = data_of(part, part)
    references, results, histories, evaluation = evaluated(data, {"net": [Where(2, constant=1, real=2)]})
    assert references["latest1"].scores["test"]["accuracy"] > 0.9
    figures = list(QUICK.figures(data, references, results, histories, evaluation))
    assert "lengths" not in [figure.name for figure in figures]
    assert render(figures[-1].canvas, "svg")
