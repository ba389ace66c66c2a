"""`rnnscope fit-hmm`: sequences in every kind of file, the choice of states, the model on disk, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import rnnscope as rs
from helpers import cli, strict_json, succeeds, write_csv
from known_hmms import sticky
from rnnscope.markov.interchange import from_plain

COUNT, STEPS = 12, 30
TRUTH = sticky(2, stay=0.9, clear=0.9)
pytestmark = pytest.mark.usefixtures("unchecked")  # as users run it: lists and tuples where arrays are written


@pytest.fixture(scope="module")
def symbols() -> np.ndarray:
    return TRUTH.sample(COUNT, STEPS, rng=0).observations.astype(np.int64)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """(N, T, 2), two clear clusters."""
    states = TRUTH.sample(COUNT, STEPS, rng=0).states
    return np.random.default_rng(1).normal(states[..., None] * [4.0, -4.0], 1.0)


def long(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the long format: a row per step."""
    return {"id": np.repeat([f"s{n}" for n in range(len(values))], values.shape[1]), name: values.reshape(-1)}


def fitted(*words: Any) -> dict[str, Any]:
    return json.loads(succeeds("fit-hmm", *words, "--json").out)


def refused(*words: Any) -> Any:
    answer = cli("fit-hmm", *words)
    assert answer.crash is None, repr(answer.crash)
    assert answer.code == 2
    assert "expected:" in answer.err
    assert "to do:" in answer.err
    return answer.err


# forms of files


def npy(values: np.ndarray) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        np.save(folder / "x.npy", values)
        return folder / "x.npy"

    return write


def test_every_form_of_symbols_gives_the_same_fit(tmp_path: Path, symbols: np.ndarray) -> None:
    write_csv(tmp_path / "long.csv", **long("symbol", symbols))
    pd.DataFrame(symbols, columns=[f"step_{t + 1}" for t in range(STEPS)]).to_csv(tmp_path / "wide.csv", index=False)
    np.save(tmp_path / "x.npy", symbols)
    np.savez(tmp_path / "x.npz", symbols=symbols, argmax=0 * symbols)
    np.savez(tmp_path / "one.npz", anything=symbols)
    pd.read_csv(tmp_path / "long.csv").to_parquet(tmp_path / "x.parquet")
    ways = [
        [tmp_path / "long.csv", "--sequence", "id"],
        [tmp_path / "long.csv", "--sequence", "id", "--column", "symbol"],
        [tmp_path / "wide.csv"],
        [tmp_path / "x.npy"],
        [tmp_path / "x.npz"],
        [tmp_path / "one.npz"],
        [tmp_path / "x.parquet", "--sequence", "id"],
    ]
    found = [fitted(*way, "--num-states", "2") for way in ways]
    assert all(one == found[0] for one in found[1:])
    assert found[0]["symbols"] == ["0", "1"]
    assert (found[0]["sequences"], found[0]["steps"]) == (COUNT, COUNT * STEPS)
    model = from_plain(found[0]["model"])
    assert rs.align(TRUTH, model).emission_error < 0.12


def test_words_are_symbols_in_the_order_of_the_alphabet(tmp_path: Path, symbols: np.ndarray) -> None:
    numbers = write_csv(tmp_path / "n.csv", **long("symbol", symbols))
    words = write_csv(tmp_path / "w.csv", **long("weather", np.array(["dry", "wet"])[symbols]))
    one, other = (fitted(path, "--sequence", "id", "--num-states", "2") for path in (numbers, words))
    assert other["symbols"] == ["dry", "wet"]
    assert other["model"] == one["model"]


def test_without_a_sequence_column_the_file_is_one_sequence(tmp_path: Path, symbols: np.ndarray) -> None:
    path = write_csv(tmp_path / "x.csv", symbol=symbols.reshape(-1))
    found = fitted(path, "--num-states", "1,2")
    assert (found["sequences"], found["steps"]) == (1, COUNT * STEPS)
    assert [c["num_states"] for c in found["candidates"]] == [1, 2]


def test_an_array_is_taken_by_name_from_an_archive(tmp_path: Path, symbols: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", symbols=symbols, argmax=np.zeros_like(symbols))
    assert fitted(tmp_path / "x.npz", "--column", "argmax", "--num-states", "1")["symbols"] == ["0"]
    err = refused(tmp_path / "x.npz", "--column", "argmix")
    assert "no array 'argmix'" in err
    assert "did you mean 'argmax'?" in err


@pytest.mark.parametrize("emissions", ["auto", "gaussian", "gaussian-full"])
def test_columns_of_numbers_are_gaussian_vectors(tmp_path: Path, vectors: np.ndarray, emissions: str) -> None:
    columns = {"id": np.repeat(np.arange(COUNT), STEPS), "x": vectors[..., 0].reshape(-1), "y": vectors[..., 1].reshape(-1)}
    path = write_csv(tmp_path / "x.csv", **columns)
    found = fitted(path, "--sequence", "id", "--num-states", "1,2", "--emissions", emissions)
    model = from_plain(found["model"])
    assert isinstance(model, rs.GaussianHMM)
    assert found["num_states"] == 2
    assert found["symbols"] == []
    assert model.covariance_type == ("full" if emissions == "gaussian-full" else "diag")
    np.testing.assert_allclose(np.sort(model.means[:, 0]), [0, 4], atol=0.5)
    only = fitted(path, "--sequence", "id", "--column", "y", "--num-states", "2", "--emissions", "gaussian")
    assert from_plain(only["model"]).num_features == 1


def test_an_array_of_vectors_is_gaussian(tmp_path: Path, vectors: np.ndarray) -> None:
    for name, values in (("three.npy", vectors), ("two.npy", vectors[0]), ("one.npy", vectors[0, :, 0])):
        np.save(tmp_path / name, values)
    assert fitted(tmp_path / "three.npy", "--num-states", "2")["sequences"] == COUNT
    two = fitted(tmp_path / "two.npy", "--num-states", "1")
    assert (two["sequences"], from_plain(two["model"]).num_features) == (1, 2)
    assert from_plain(fitted(tmp_path / "one.npy", "--num-states", "1")["model"]).num_features == 1


def test_whole_numbers_are_vectors_where_that_is_asked_for(tmp_path: Path, symbols: np.ndarray) -> None:
    path = write_csv(tmp_path / "x.csv", **long("count", symbols * 3))
    assert fitted(path, "--sequence", "id", "--num-states", "1")["model"]["kind"] == "categorical"
    assert fitted(path, "--sequence", "id", "--num-states", "1", "--emissions", "gaussian")["model"]["kind"] == "gaussian"


def test_missing_values_are_steps_without_observation(tmp_path: Path, symbols: np.ndarray) -> None:
    gaps = symbols.astype(float)
    gaps[::3, ::5] = np.nan
    words = np.where(np.isnan(gaps), None, np.array(["dry", "wet"])[symbols])
    files = [
        write_csv(tmp_path / "n.csv", **long("symbol", gaps)),
        write_csv(tmp_path / "w.csv", **long("weather", words)),
    ]
    found = [fitted(path, "--sequence", "id", "--num-states", "2") for path in files]
    assert found[0]["model"] == found[1]["model"]
    np.save(tmp_path / "x.npy", gaps)
    assert fitted(tmp_path / "x.npy", "--num-states", "2")["model"] == found[0]["model"]


def test_minus_one_is_a_missing_symbol_in_a_table_too(tmp_path: Path, symbols: np.ndarray) -> None:
    gaps = np.where(np.arange(STEPS) % 5 == 0, -1, symbols)
    path = write_csv(tmp_path / "m.csv", **long("symbol", gaps))
    found = fitted(path, "--sequence", "id", "--num-states", "2")
    assert found["model"] == fitted(npy(gaps)(tmp_path), "--num-states", "2")["model"]


def test_gaps_in_vectors_are_no_obstacle_for_diagonal_covariances(tmp_path: Path, vectors: np.ndarray) -> None:
    x, y = vectors[..., 0].reshape(-1).copy(), vectors[..., 1].reshape(-1)
    x[::7] = np.nan
    path = write_csv(tmp_path / "x.csv", x=x, y=y)
    assert fitted(path, "--num-states", "2")["num_states"] == 2


# the choice, and the file


def test_the_choice_is_held_out_or_bic_and_said(tmp_path: Path, symbols: np.ndarray) -> None:
    path = npy(symbols)(tmp_path)
    for choose, key in (("held-out", "by_held_out"), ("bic", "by_bic")):
        found = fitted(path, "--num-states", "1..3", "--choose", choose)
        assert found["chosen_by"] == choose
        assert found["num_states"] == found[key]
        assert len(found["model"]["initial_probs"]) == found["num_states"]
    assert found["by_bic"] == 2


def test_the_table_for_people_marks_the_choice(tmp_path: Path, symbols: np.ndarray) -> None:
    text = succeeds("fit-hmm", npy(symbols)(tmp_path), "--num-states", "1..2").out
    assert f"{COUNT} sequences, {COUNT * STEPS} steps, symbols 0 1" in text
    assert "<- held-out, BIC" in text
    assert "chosen by held-out: 2 states" in text
    assert "better than no memory" in text


def test_independent_symbols_show_no_memory(tmp_path: Path) -> None:
    loose = np.random.default_rng(0).integers(0, 2, (COUNT, STEPS))
    text = succeeds("fit-hmm", npy(loose)(tmp_path), "--num-states", "1..2", "--choose", "bic").out
    assert "chosen by bic: 1 states" in text


def test_the_model_on_disk_is_read_back(tmp_path: Path, symbols: np.ndarray) -> None:
    out = tmp_path / "deep" / "model.json"
    text = succeeds("fit-hmm", npy(symbols)(tmp_path), "--num-states", "2", "--out", out).out
    assert f"model -> {out}" in text
    plain = strict_json(out)
    model = from_plain(plain["model"])
    assert isinstance(model, rs.HMM)
    per_step = model.log_likelihood(symbols).sum() / symbols.size
    assert min(c["log_likelihood"] for c in plain["candidates"]) - 0.1 < per_step < 0
    assert plain == fitted(npy(symbols)(tmp_path), "--num-states", "2")
    assert not list(out.parent.glob("*.tmp"))


def test_equal_seeds_give_equal_fits(tmp_path: Path, symbols: np.ndarray) -> None:
    path = npy(symbols)(tmp_path)
    first, again, other = (fitted(path, "--num-states", "2", "--seed", seed) for seed in (1, 1, 2))
    assert first == again
    assert first["candidates"] != other["candidates"]


# what is refused


@pytest.mark.parametrize("text", ["none", "0", "-1", "3..1", "1..", "..", "1..2..3", "1.5", "2,", ""])
def test_numbers_of_states_that_are_none_are_refused(tmp_path: Path, symbols: np.ndarray, text: str) -> None:
    assert f"--num-states {text}" in refused(npy(symbols)(tmp_path), f"--num-states={text}")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--choose", "aic"], "--choose aic"),
        (["--emissions", "poisson"], "--emissions poisson"),
        (["--seed", "-1"], "--seed -1"),
        (["--num-states", "40"], "observed steps for the"),
        (["--out", "/dev/null/model.json", "--num-states", "1"], "cannot be written"),
    ],
)
def test_options_out_of_range_are_named(tmp_path: Path, symbols: np.ndarray, words: list[str], named: str) -> None:
    assert named in refused(npy(symbols)(tmp_path), *words)


def content(name: str, text: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(text)
        return folder / name

    return write


def table(**columns: Any) -> Callable[[Path], Path]:
    return lambda folder: write_csv(folder / "x.csv", **columns)


TWO = {"a": [0, 1] * 10, "b": ["x", "y"] * 10}


@pytest.mark.parametrize(
    ("make", "words", "named"),
    [
        (lambda folder: folder / "none.csv", [], "there is no file"),
        (lambda folder: folder / "none.npy", [], "there is no file"),
        (lambda folder: folder, [], "is a folder"),
        (content("x.csv", b""), [], "is empty"),
        (content("x.csv", b"symbol\n"), [], "no rows"),
        (content("x.txt2", b"symbol\n1\n"), [], "ends in '.txt2'"),
        (content("x.npy", b"no array at all"), [], "cannot be read"),
        (table(**TWO), ["--column", "c"], "no column 'c'"),
        (table(weather=[0, 1] * 10), ["--column", "weathr"], "did you mean 'weather'?"),
        (table(**TWO), ["--sequence", "id"], "no column 'id'"),
        (table(**TWO), [], "columns a, b"),
        (table(**TWO), ["--column", "a", "--column", "b"], "columns a, b"),
        (table(**TWO), ["--column", "b", "--emissions", "gaussian"], "column 'b' holds symbols"),
        (table(x=np.arange(20) / 2), ["--emissions", "categorical"], "not whole numbers"),
        (table(x=[0, 1, -2] * 9), ["--emissions", "categorical"], "not whole numbers"),
        (table(word=[f"w{n}" for n in range(60)]), [], "60 different symbols"),
        (npy(np.array([["a", "b"]])), [], "type"),
        (npy(np.array([[0, 1, -2]])), [], "symbol -2 at position 2 of sequence 0"),
    ],
)
def test_files_that_do_not_serve_are_refused_with_what_is_wrong(
    tmp_path: Path, make: Callable[[Path], Path], words: list[str], named: str
) -> None:
    assert named in refused(make(tmp_path), "--num-states", "1", *words)


def crash(*values: Any, name: str, error: str = "") -> Any:
    """A case that ends in a traceback today."""
    return pytest.param(
        *values,
        id=name,
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        crash(npy(np.empty((0, 4), int)), [], name="an empty array", error="ValueError of nanmax"),
        crash(npy(np.array(2.5)), [], name="a single number", error="TypeError of len"),
        crash(npy(np.array([[0, 1, np.inf, 1]])), [], name="an infinite symbol", error="OverflowError of int(inf)"),
        crash(table(x=[0, 1, np.inf] * 9), [], name="an infinite symbol in a table", error="OverflowError of int(inf)"),
        crash(
            npy(np.full((3, 9), np.nan)), ["--emissions", "categorical"], name="nothing but NaN", error="ValueError of int(nan)"
        ),
        crash(
            npy(np.array([["a", "b"]])), ["--emissions", "categorical"], name="an array of words", error="TypeError of nanmax"
        ),
        crash(content("x.npz", b"PK\x03\x04 and then nothing"), [], name="a damaged archive", error="zipfile.BadZipFile"),
        crash(table(symbol=[-1] * 20), [], name="nothing but missing symbols", error="a warning of pandas"),
        pytest.param(content("x.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order'"), [], id="a cut array"),
        pytest.param(
            table(x=[0.5, np.nan] * 12, y=[1.5, 2.5] * 12), ["--emissions", "gaussian-full"], id="half a vector missing"
        ),
    ],
)
def test_files_with_nothing_in_them_or_damaged_are_refused(
    tmp_path: Path, make: Callable[[Path], Path], words: list[str]
) -> None:
    refused(make(tmp_path), "--num-states", "1", *words)


def test_too_many_symbols_in_an_array_are_refused_as_in_a_table(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 80, (4, 500))
    assert "different symbols" in refused(npy(numbers)(tmp_path), "--num-states", "1")


def test_one_hot_arrays_have_as_many_symbols_as_columns(tmp_path: Path, symbols: np.ndarray) -> None:
    path = npy(np.eye(2, dtype=int)[symbols][..., [1, 0]])(tmp_path)
    three = npy(np.eye(3, dtype=int)[symbols + 1])
    assert fitted(path, "--emissions", "categorical", "--num-states", "1")["symbols"] == ["0", "1"]
    assert fitted(three(tmp_path), "--emissions", "categorical", "--num-states", "1")["symbols"] == ["0", "1", "2"]


def test_rows_that_name_no_sequence_are_not_dropped_in_silence(tmp_path: Path, symbols: np.ndarray) -> None:
    columns = long("symbol", symbols)
    columns["id"] = columns["id"].astype(object)
    columns["id"][:50] = None
    refused(write_csv(tmp_path / "x.csv", **columns), "--sequence", "id", "--num-states", "1")


def test_emissions_asked_for_are_not_ignored_for_wide_tables(tmp_path: Path, symbols: np.ndarray) -> None:
    path = tmp_path / "wide.csv"
    pd.DataFrame(symbols, columns=[f"step_{t + 1}" for t in range(STEPS)]).to_csv(path, index=False)
    answer = cli("fit-hmm", path, "--num-states", "1", "--emissions", "gaussian", "--json")
    assert answer.crash is None
    assert answer.code == 2 or json.loads(answer.out)["model"]["kind"] == "gaussian"
