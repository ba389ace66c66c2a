"""Classifying new sequences with a trained run: from Python and from the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rnnscope as rs
from helpers import cli, without_drawing
from rnnscope.core.labelled import LabelledData, class_probabilities


def frame(count: int = 24, steps: int = 6, seed: int = 0, shift: float = 40.0) -> pd.DataFrame:
    """Class "up" rises, class "down" falls, far from zero: wrong scaling would show."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        way = 1 if i % 2 else -1
        for t in range(steps):
            rows.append({"sequence": f"s{i}", "step": t, "a": shift + way * t + 0.1 * rng.normal(), "b": rng.normal()})
    found = pd.DataFrame(rows)
    return found.assign(label=np.where(found["sequence"].str[1:].astype(int) % 2, "up", "down"))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> rs.Run:
    folder = tmp_path_factory.mktemp("classify")
    frame().to_csv(folder / "train.csv", index=False)
    frame(seed=1).to_csv(folder / "test.csv", index=False)
    experiment = rs.Experiment(
        name="ways",
        task=rs.Labelled(path=str(folder / "train.csv"), test_path=str(folder / "test.csv")),
        models={"gru": rs.Classifier(hidden_size=6)},
        trainer=rs.BPTT(epochs=40, batch_size=8, learning_rate=2e-2),
        evaluation=rs.Classification(permutations=9),
    )
    with without_drawing():
        return rs.run(experiment, out=folder / "runs")


def test_new_sequences_get_a_label_and_probabilities(run, tmp_path):
    new = frame(10, seed=2)
    new.drop(columns="label").to_csv(tmp_path / "new.csv", index=False)
    found = run.classify(tmp_path / "new.csv")
    assert list(found) == ["id", "label", "probability down", "probability up"]
    assert found["id"].tolist() == [f"s{i}" for i in range(10)]
    assert found["label"].tolist() == ["down", "up"] * 5
    np.testing.assert_allclose(found[["probability down", "probability up"]].sum(axis=1), 1)


def test_the_test_part_is_classified_as_in_the_evaluation(run):
    found = run.classify(run.experiment.task.test_path)
    assert isinstance(run.data, LabelledData)
    expected = class_probabilities(run.model(), run.data.tests["test"])
    np.testing.assert_allclose(found[["probability down", "probability up"]], expected, atol=1e-6)
    assert (found["actual"] == found["label"]).mean() == 1


def test_columns_go_by_name_and_others_are_left_aside(run, tmp_path):
    new = frame(6, seed=3)
    new.to_csv(tmp_path / "a.csv", index=False)
    new.assign(remark="none", c=1.0)[["remark", "c", "b", "step", "a", "sequence"]].to_parquet(tmp_path / "b.parquet")
    columns = ["label", "probability down", "probability up"]
    pd.testing.assert_frame_equal(run.classify(tmp_path / "a.csv")[columns], run.classify(tmp_path / "b.parquet")[columns])


def test_a_ts_file_serves_too(run, tmp_path):
    new = frame(4, seed=3)
    lines = [
        ",".join(map(repr, g["a"].tolist())) + ":" + ",".join(map(repr, g["b"].tolist()))
        for _, g in new.groupby("sequence", sort=False)
    ]
    (tmp_path / "new.ts").write_text("@univariate false\n@classLabel false\n@data\n" + "\n".join(lines) + "\n")
    assert run.classify(tmp_path / "new.ts")["label"].tolist() == ["down", "up"] * 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda f: f.rename(columns={"b": "c"}), "features a, c"),
        (lambda f: f.assign(a=f["a"].where(f["step"] != 2)), "misses 'a' at step 3"),
        (lambda f: f[f["step"] < 3], "has 3 steps"),
        (lambda f: f.assign(a="word"), "holds 'word'"),
        (lambda f: f.assign(a=np.inf), "infinite 'a'"),
        (lambda f: f.iloc[:0], "holds no rows"),
    ],
)
def test_sequences_that_do_not_fit_are_refused_and_nothing_is_written(run, tmp_path, change, found):
    change(frame(4)).to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "labels.csv"
    ended = cli("classify", str(run.path), str(tmp_path / "new.csv"), "--out", str(out))
    assert ended.code == 2
    assert found in ended.err, ended.err
    assert "to do:" in ended.err
    assert not out.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["new.csv"]


def test_the_verb_writes_every_kind_of_table_and_counts(run, tmp_path):
    frame(6, seed=4).to_csv(tmp_path / "new.csv", index=False)
    for name in ("labels.csv", "labels.parquet", "labels.json"):
        ended = cli("classify", str(run.path), str(tmp_path / "new.csv"), "--out", str(tmp_path / name), "--json")
        assert ended.code == 0, ended.err
        told = json.loads(ended.out)
        assert told["sequences"] == told["labelled"] == told["right"] == 6
        assert told["labels"] == {"down": 3, "up": 3}
        assert (tmp_path / name).stat().st_size
    text = cli("classify", str(run.path), str(tmp_path / "new.csv"), "--out", str(tmp_path / "x.csv")).out
    assert "6 of the 6" in text
    assert len(pd.read_csv(tmp_path / "x.csv")) == 6


def test_a_run_that_classifies_nothing_and_unknown_models_are_refused(run, small, tmp_path):
    with without_drawing():
        other = rs.run(small, out=tmp_path / "runs")
    frame(2).to_csv(tmp_path / "new.csv", index=False)
    ended = cli("classify", str(other.path), str(tmp_path / "new.csv"))
    assert ended.code == 2
    assert "classifies no sequences" in ended.err
    ended = cli("classify", str(run.path), str(tmp_path / "new.csv"), "--model", "lstm")
    assert ended.code == 2
    assert "unknown model" in ended.err


def test_a_generated_task_takes_sequences_of_any_length_from_tables(tmp_path):
    experiment = rs.Experiment(
        name="bits",
        task=rs.Pattern(num_sequences=60),
        models={"gru": rs.Classifier(hidden_size=4, pooling="max")},
        trainer=rs.BPTT(epochs=1),
        evaluation=rs.Classification(permutations=9),
    )
    with without_drawing():
        made = rs.run(experiment, out=tmp_path / "runs")
    data = made.data
    assert isinstance(data, LabelledData)
    values = data.tests["test"].inputs[:4, :, 0].numpy()
    wide = pd.DataFrame(values, columns=[f"step {t}" for t in range(values.shape[1])])
    wide.to_csv(tmp_path / "wide.csv", index=False)
    long = pd.DataFrame([{"sequence": i, data.input_names[0]: v} for i, row in enumerate(values) for v in row[: 9 + i]])
    long.to_csv(tmp_path / "long.csv", index=False)
    expected = class_probabilities(made.model(), data.tests["test"].take(np.arange(4)))
    np.testing.assert_allclose(made.classify(tmp_path / "wide.csv").iloc[:, 2:4], expected, atol=1e-6)
    own = made.classify(tmp_path / "long.csv")
    with torch.no_grad():
        alone = made.model()(torch.from_numpy(values[None, 0, :9, None]))[0, -1].double().softmax(-1)
    np.testing.assert_allclose(own.iloc[0, 2:4].to_numpy(np.float64), alone.numpy(), atol=1e-6)


def test_it_works_on_a_path_or_a_text(run, tmp_path):
    frame(2).to_csv(tmp_path / "new.csv", index=False)
    pd.testing.assert_frame_equal(run.classify(Path(tmp_path / "new.csv")), run.classify(str(tmp_path / "new.csv")))
