"""One's own labelled sequences: three formats, policies, splits that do not leak, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch

import rnnscope as rs
from rnnscope.core.labelled import LabelledData
from rnnscope.core.random import Streams
from rnnscope.tasks.labelled import class_order

TS = """# comment
%another
@ProblemName Gestures
@timeStamps false
@Missing false

@univariate false
@dimensions 2
@equalLength {equal}
@classLabel true up down
@DATA
1,2,3:10,20,30:up
2,3,4:20,30,40:up
{third}:down
4,5,6:40,50,60:down
"""
EVEN, SHORT = "3,4,5:30,40,50", "3,4:30,40"


def prepared(path, seed: int = 0, **fields) -> LabelledData:
    return rs.Labelled(path=str(path), **fields).prepare(Streams(seed))


def written(folder, name: str, text: str):
    file = folder / name
    file.write_text(text)
    return file


def ts(folder, name: str = "train.ts", equal: str = "true", third: str = EVEN):
    return written(folder, name, TS.format(equal=equal, third=third))


def long_frame(count: int = 8, steps: int = 5, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {"sequence": f"s{i}", "step": t, "a": rng.normal() + i % 2, "b": rng.normal(), "label": ["no", "yes"][i % 2]}
        for i in range(count)
        for t in range(steps)
    ]
    return pd.DataFrame(rows)


def raw(data: LabelledData, part: str = "train") -> np.ndarray:
    """Inputs in the file's own units."""
    return data.parts()[part].inputs.numpy() * data.sd + data.mean


# formats


def test_a_ts_file_is_read_with_comments_any_case_and_several_dimensions(tmp_path):
    file = ts(tmp_path)
    data = prepared(file, test_path=str(file))
    assert data.class_names == ("down", "up")
    assert data.input_names == ("dimension 1", "dimension 2")
    np.testing.assert_allclose(raw(data)[0], [[1, 10], [2, 20], [3, 30]], rtol=1e-6)
    assert data.train.labels.tolist() == [1, 1, 0, 0]
    assert data.train.lengths is None


def test_a_ts_file_that_declares_unequal_lengths_is_masked(tmp_path):
    file = ts(tmp_path, equal="false", third=SHORT)
    data = prepared(file, test_path=str(file))
    assert data.train.lengths.tolist() == [3, 3, 2, 3]
    assert (data.train.inputs[2, 2] == 0).all()


def test_the_same_sequences_come_from_every_format(tmp_path):
    frame = long_frame()
    one = frame[["sequence", "step", "a", "label"]]
    one.to_csv(tmp_path / "long.csv", index=False)
    one.sample(frac=1, random_state=1).sort_values("sequence", kind="stable").to_parquet(tmp_path / "long.parquet")
    wide = one.pivot(index="sequence", columns="step", values="a")
    labels = one.groupby("sequence")["label"].first()
    wide.assign(label=labels).to_csv(tmp_path / "wide.csv")
    codes = labels.map({"no": 1.0, "yes": 2.0})
    bare = wide.copy()
    bare.insert(0, "label", codes)
    bare.to_csv(tmp_path / "bare.tsv", sep="\t", header=False, index=False)
    lines = [",".join(map(repr, row)) + f":{label}" for row, label in zip(wide.to_numpy().tolist(), labels, strict=True)]
    (tmp_path / "x.ts").write_text("@univariate true\n@classLabel true no yes\n@data\n" + "\n".join(lines) + "\n")
    kept = [
        prepared(tmp_path / n, test_path=str(tmp_path / n))
        for n in ("long.csv", "long.parquet", "wide.csv", "bare.tsv", "x.ts")
    ]
    for data in kept:
        torch.testing.assert_close(data.train.inputs, kept[0].train.inputs)
        assert data.train.labels.tolist() == kept[0].train.labels.tolist()
    assert kept[3].class_names == ("1", "2")


def test_rows_without_a_header_may_have_the_label_last_and_words_as_labels(tmp_path):
    file = written(tmp_path, "last.csv", "0.1,0.2,0.3,a\n0.3,0.2,0.1,b\n0.2,0.2,0.2,a\n")
    data = prepared(file, test_path=str(file))
    assert data.class_names == ("a", "b")
    assert data.train.num_steps == 3
    first = written(tmp_path, "first.csv", "a,0.1,0.2,0.3\nb,0.3,0.2,0.1\n")
    assert prepared(first, test_path=str(first)).class_names == ("a", "b")


def test_a_header_of_step_numbers_beside_a_label_is_a_header(tmp_path):
    file = written(tmp_path, "wide.csv", "label,0,1,2\n1,5,6,7\n2,7,6,5\n")
    assert prepared(file, test_path=str(file)).train.inputs.shape == (2, 3, 1)


def test_columns_and_features_can_be_named(tmp_path):
    frame = long_frame().rename(columns={"sequence": "run", "label": "outcome", "step": "minute"})
    frame.to_csv(tmp_path / "x.csv", index=False)
    data = prepared(tmp_path / "x.csv", sequence="run", label="outcome", step="minute", features=("b",))
    assert data.input_names == ("b",)
    assert data.class_names == ("no", "yes")


def test_a_named_feature_is_never_taken_for_another_column(tmp_path):
    frame = long_frame().rename(columns={"a": "t", "b": "y"})
    frame.to_csv(tmp_path / "x.csv", index=False)
    assert prepared(tmp_path / "x.csv", features=("t", "y")).input_names == ("t", "y")


def test_steps_are_put_in_order(tmp_path):
    frame = long_frame()
    frame.to_csv(tmp_path / "x.csv", index=False)
    shuffled = pd.concat([g.sample(frac=1, random_state=2) for _, g in frame.groupby("sequence", sort=False)])
    shuffled.to_csv(tmp_path / "y.csv", index=False)
    assert prepared(tmp_path / "x.csv").fingerprint() == prepared(tmp_path / "y.csv").fingerprint()


def test_numbers_as_classes_are_in_the_order_of_their_size():
    assert class_order(("10", "9", "2", "b", "a", "-1")) == ("-1", "2", "9", "10", "a", "b")


# policies


def gappy(tmp_path, cell: str = ""):
    frame = long_frame().astype({"a": object})
    frame.loc[2, "a"] = cell
    frame.to_csv(tmp_path / "gap.csv", index=False)
    return frame, tmp_path / "gap.csv"


def test_missing_values_are_refused_or_filled_as_asked(tmp_path):
    frame, file = gappy(tmp_path)
    with pytest.raises(rs.DataError, match="misses 'a' at step 3"):
        prepared(file, test_path=str(file))
    between = prepared(file, test_path=str(file), missing="interpolate")
    assert raw(between)[0, 2, 0] == pytest.approx((frame.loc[1, "a"] + frame.loc[3, "a"]) / 2, rel=1e-5)
    nothing = prepared(file, test_path=str(file), missing="zero")
    assert nothing.train.inputs[0, 2, 0] == 0
    assert any("1 missing" in note or "2 missing" in note for note in nothing.notes)


def test_question_marks_and_nan_in_a_ts_file_are_missing(tmp_path):
    file = ts(tmp_path, third="?,NaN,5:30,40,50")
    data = prepared(file, test_path=str(file), missing="interpolate")
    np.testing.assert_allclose(raw(data)[2, :, 0], [5, 5, 5], rtol=1e-6)


def test_unequal_lengths_need_a_policy(tmp_path):
    frame = long_frame().drop(index=4)
    file = tmp_path / "x.csv"
    frame.to_csv(file, index=False)
    with pytest.raises(rs.DataError, match="4 to 5 steps") as refused:
        prepared(file, test_path=str(file))
    assert "lengths=pad" in refused.value.remedy
    assert prepared(file, test_path=str(file), lengths="pad").train.lengths.tolist()[0] == 4
    even = prepared(file, test_path=str(file), lengths="resample")
    assert even.train.lengths is None
    np.testing.assert_allclose(raw(even)[0, [0, -1], 0], frame["a"].to_numpy()[[0, 3]], rtol=1e-5)


def test_scaling_is_fitted_on_the_training_part_only(tmp_path):
    long_frame().to_csv(tmp_path / "a.csv", index=False)
    far = long_frame(seed=1)
    far[["a", "b"]] = far[["a", "b"]] * 50 + 7
    far.to_csv(tmp_path / "b.csv", index=False)
    data = prepared(tmp_path / "a.csv", test_path=str(tmp_path / "b.csv"))
    flat = data.train.inputs.flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(flat.std(0, correction=0), torch.ones(2), atol=1e-5, rtol=0)
    assert data.tests["test"].inputs.abs().mean() > 10
    np.testing.assert_allclose(raw(data, "test")[0, 0], far[["a", "b"]].iloc[0], rtol=1e-4)


def test_padding_does_not_enter_the_scaling(tmp_path):
    file = ts(tmp_path, equal="false", third=SHORT)
    data = prepared(file, test_path=str(file))
    np.testing.assert_allclose(data.mean[0], np.mean([1, 2, 3, 2, 3, 4, 3, 4, 4, 5, 6]))


def test_scaling_by_sequence_and_none(tmp_path):
    long_frame().to_csv(tmp_path / "x.csv", index=False)
    own = prepared(tmp_path / "x.csv", scaling="per_sequence")
    torch.testing.assert_close(own.train.inputs.mean(1), torch.zeros(6, 2), atol=1e-6, rtol=0)
    assert own.mean is None
    assert prepared(tmp_path / "x.csv", scaling="none").mean is None


def test_a_constant_feature_is_no_division_by_zero(tmp_path):
    frame = long_frame().assign(b=3.0)
    frame.to_csv(tmp_path / "x.csv", index=False)
    for scaling in ("standard", "per_sequence"):
        assert (prepared(tmp_path / "x.csv", scaling=scaling).train.inputs[:, :, 1] == 0).all()


# parts


def test_one_file_is_split_by_class_and_the_seed(tmp_path):
    long_frame(40).to_csv(tmp_path / "x.csv", index=False)
    data = prepared(tmp_path / "x.csv", validation=0.2, test=0.25)
    assert {n: len(p) for n, p in data.parts().items()} == {"train": 24, "validation": 6, "test": 10}
    assert all(len(set(data.counts(p).values())) == 1 for p in data.parts().values())
    rows = np.concatenate([raw(data, part)[:, 0, 0] for part in data.parts()])
    assert len(np.unique(rows.round(5))) == 40  # no sequence is in two parts
    assert data.fingerprint() == prepared(tmp_path / "x.csv", validation=0.2, test=0.25).fingerprint()
    assert data.fingerprint() != prepared(tmp_path / "x.csv", seed=1, validation=0.2, test=0.25).fingerprint()


def test_groups_stay_together(tmp_path):
    frame = long_frame(40)
    number = frame["sequence"].str[1:].astype(int)
    frame["person"] = "p" + (number // 4).astype(str)
    frame["a"] = (number // 4).astype(float)  # the value tells the person
    frame.to_csv(tmp_path / "x.csv", index=False)
    data = prepared(tmp_path / "x.csv", group="person", scaling="none", validation=0.2)
    people = [set(part.inputs[:, 0, data.input_names.index("a")].tolist()) for part in data.parts().values()]
    assert sum(map(len, people)) == len(set.union(*people)) == 10


def test_balance_weighs_rare_classes(tmp_path):
    frame = long_frame(12)
    frame = frame[~frame["sequence"].isin(["s1", "s3", "s5", "s7"])]
    frame.to_csv(tmp_path / "x.csv", index=False)
    data = prepared(tmp_path / "x.csv", test_path=str(tmp_path / "x.csv"), balance=True)
    assert data.class_weights == pytest.approx((8 / 12, 2.0))


# what is refused


def refused(folder, text: str, found: str, name: str = "x.csv", **fields):
    file = written(folder, name, text)
    with pytest.raises(rs.RnnscopeError) as error:
        prepared(file, **{"test_path": str(file), **fields})
    assert found in error.value.found, error.value.found
    assert error.value.expected
    assert error.value.remedy


HEAD = "@univariate true\n@equalLength true\n@classLabel true a b\n@data\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,2,3:a\n", "no line @data"),
        ("@classLabel true a b\n@data\n", "no sequences after @data"),
        (HEAD + "1,2:a\n1,2:c\n", "the label 'c'"),
        (HEAD + "1,2:a\n1,2,3:b\n", "has 3 steps"),
        (HEAD + "1,2:a\n1,x:b\n", "holds 'x'"),
        (HEAD + "1,2:a\n1,2:3,4:b\n", "has 2 dimensions"),
        ("@classLabel true a b\n@data\n1,2:1:a\n", "dimensions of [1, 2] steps"),
        ("@classLabel true a b\n@data\n1,inf:a\n", "infinite"),
        ("@timeStamps true\n@classLabel true a b\n@data\n(0,1):a\n", "time stamps"),
        ("@targetLabel true\n@data\n1,2:0.5\n", "numbers to predict"),
        ("@classLabel false\n@data\n1,2\n", "have no label"),
        (HEAD + "1,2:a\n1,2:a\n", "every sequence of the training part is of class 'a'"),
    ],
)
def test_a_bad_ts_file_is_refused(text, found, tmp_path):
    refused(tmp_path, text, found, "x.ts")


@pytest.mark.parametrize(
    ("text", "found", "fields"),
    [
        ("", "is empty", {}),
        ("# only a comment\n", "nothing but comments", {}),
        ("sequence,a,label\n1,2,x\n1,3,y\n", "several values in column 'label'", {}),
        ("sequence,a,label\n1,2,\n1,3,\n2,1,x\n2,1,\n", "have no label", {}),
        ("sequence,a,label\n1,2,x\n1,word,x\n", "holds 'word'", {}),
        ("sequence,a,label\n1,2,x\n1,inf,x\n2,1,y\n2,1,y\n", "infinite 'a' at step 2", {}),
        ("sequence,a,label\n,2,x\n1,3,x\n1,3,x\n", "is empty at row 1", {}),
        ("sequence,step,a,label\n1,0,2,x\n1,0,3,x\n", "the step", {}),
        ("sequence,a,label\n1,2,0.5\n1,3,0.5\n", "the label 0.5", {}),
        ("sequence,a,label\n1,2,x\n1,3,x\n", "no column 'kind'", {"label": "kind"}),
        ("sequence,a,label\n1,2,x\n1,3,x\n", "no column 'c'", {"features": ("c",)}),
        ("a,label\n1,x\n2,y\n", "no column that tells sequences apart", {"format": "long"}),
        ("1,0.1,0.2\n2,0.3\n", "row 2 of x.csv has 2 cells", {}),
        ("1,0.1,0.2\n2,NaN,NaN\n", "row 2 of x.csv holds no number", {}),
        ("1,0.1,0.2\n2,0.3,zero\n", "holds 'zero'", {}),
        ("1,0.1,0.2\n2,0.3,0.1\n", "no column 'kind'", {"label": "kind"}),
        ("1,0.1,0.2\n1,0.3,0.1\n", "every sequence of the training part", {}),
    ],
)
def test_a_bad_table_is_refused(text, found, fields, tmp_path):
    refused(tmp_path, text, found, **fields)


def test_files_that_are_no_text_or_not_there_are_refused(tmp_path):
    (tmp_path / "x.csv").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "y.ts").write_bytes(b"\xff\xfe\xfa\xfb" * 30)
    for name in ("x.csv", "y.ts"):
        with pytest.raises(rs.DataError, match="no text"):
            prepared(tmp_path / name)
    with pytest.raises(rs.DataError) as error:
        prepared(tmp_path / "x.csvv"[:-1].replace("x", "xx"))
    assert "did you mean 'x.csv'" in error.value.remedy
    for path, found in ((tmp_path, "is a folder"), (written(tmp_path, "z.xlsx", "1"), "ends in '.xlsx'")):
        with pytest.raises(rs.DataError, match=found):
            prepared(path)
    with pytest.raises(rs.ConfigError, match="path is empty"):
        rs.Labelled().prepare(Streams(0))


def test_a_class_that_training_never_saw_is_refused_by_name(tmp_path):
    train = ts(tmp_path)
    test = written(
        tmp_path, "test.ts", TS.format(equal="true", third=EVEN).replace("up down", "up down left") + "1,2,3:1,2,3:left\n"
    )
    with pytest.raises(rs.DataError, match="the class 'left'"):
        prepared(train, test_path=str(test))


def test_a_test_file_with_other_features_is_refused(tmp_path):
    long_frame().to_csv(tmp_path / "a.csv", index=False)
    long_frame().rename(columns={"b": "c"}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(rs.DataError, match="a, c"):
        prepared(tmp_path / "a.csv", test_path=str(tmp_path / "b.csv"))
    swapped = long_frame()[["sequence", "step", "b", "a", "label"]]
    swapped.to_csv(tmp_path / "c.csv", index=False)
    data = prepared(tmp_path / "a.csv", test_path=str(tmp_path / "c.csv"))
    assert torch.equal(data.train.inputs, data.tests["test"].inputs)  # columns go by name


def test_too_few_sequences_to_hold_out_are_refused(tmp_path):
    file = written(tmp_path, "x.csv", "sequence,a,label\n1,2,x\n1,3,x\n2,1,y\n2,1,y\n")
    with pytest.raises(rs.DataError, match="leave nothing to hold out"):
        prepared(file)
    with pytest.raises(rs.ConfigError, match=r"task\.test is 0"):
        prepared(file, test=0.0)
