"""How well does a network predict the next character? Bits per character on held-out text beside n-grams, and what it writes."""

import math
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from rnnscope.core.errors import ConfigError
from rnnscope.core.interfaces import Evaluation, EvaluationSpec, History, ModelResult, SequenceModel, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, NonNegativeFloat, Positive
from rnnscope.core.summaries import best_results, entries, kept_arrays, run_metrics
from rnnscope.core.tables import Column, Figure, Headline, Row, Table
from rnnscope.core.text import TextData, needed_memory
from rnnscope.core.vocabulary import shown
from rnnscope.dynamics.symbol_sampling import read_symbols, sample_symbols
from rnnscope.evaluation.text_figures import samples, text_figures
from rnnscope.evaluation.text_scores import (
    PARTS,
    UNIFORM,
    best_ngram,
    difference,
    free_run,
    free_run_scores,
    label,
    network_answers,
    ngram_answers,
    ngram_free_run,
    result_of,
    uniform_answers,
)
from rnnscope.numerics.ngrams import fit_ngrams

HEADLINES = (
    Headline("bits", "test", "bits", "bits per character, test part"),
    Headline("accuracy", "test", "accuracy", "characters right, test part", "high"),
    Headline("free_run", "free_run", "right", "free run right", "high"),
)
COLUMNS = (
    Column("bits", "bits per character", "low"),
    Column("perplexity", "perplexity", "low"),
    Column("accuracy", "share of characters right", "high"),
)
NOTE = (
    "The n-grams (interpolated Kneser-Ney) are counted on the training part; which order stands for them is chosen on the "
    "validation part. A network's state is carried through the whole part."
)
CLEAR = 2.0  # standard errors
EXAMPLE = 60


class TextScores(EvaluationSpec):
    """Score predictions of the next character, and let the networks write.

    Fields:
        order: longest n-gram of the baselines. most: at most so many characters of each held-out part are scored, from its start.
        free_run: characters that the network writes on from the start of the test part, the most probable one each time, to be
            compared with the text; 0: none (a text that does not repeat itself cannot be foretold).
        prompt: characters before the test part that it reads first.
        temperatures: at which samples are drawn for the report; sample_length: how long these are.
    """

    order: Annotated[int, Field(ge=1, le=12)] = 6
    most: Positive = 500_000
    free_run: NonNegative = 0
    prompt: Positive = 100
    temperatures: tuple[NonNegativeFloat, ...] = (0.5, 0.8, 1.0)
    sample_length: Positive = 300

    def check(self, data: TrainingData) -> None:
        if not isinstance(data, TextData):
            raise ConfigError(
                "the evaluation text needs a text, and this task has none",
                "a task such as text or characters, or another evaluation",
                "set evaluation.kind=forecasting for a series, or steps for answers at every step",
            )

    def references(self, data: TrainingData, streams: Streams) -> dict[str, ModelResult]:
        assert isinstance(data, TextData)
        counted = fit_ngrams(data.symbols_of("train"), len(data.vocabulary), self.order)
        found = {UNIFORM: result_of({p: uniform_answers(data, p, self.most) for p in PARTS}, data, self.most)}
        answers = {p: ngram_answers(counted, data, p, self.most) for p in PARTS}
        runs = ngram_free_run(counted, data, self.free_run, self.prompt) if self.free_run else []
        for k in range(counted.order):
            result = result_of({p: answers[p][k] for p in PARTS}, data, self.most)
            if runs:
                result.scores["free_run"] = free_run_scores(runs[k], data)
            found[f"ngram{k + 1}"] = result
        return found

    def score(self, model: SequenceModel, data: TrainingData, streams: Streams) -> ModelResult:
        assert isinstance(data, TextData)
        result = result_of({p: network_answers(model, data, p, self.most) for p in PARTS}, data, self.most)
        systems = list(model.systems().values())
        if len(systems) != 1:
            return result
        if self.free_run:
            result.arrays["free_run"] = free_run(systems[0], data, self.free_run, self.prompt)
            result.scores["free_run"] = free_run_scores(result.arrays["free_run"], data)
        before = np.repeat(data.context_of("test", self.prompt)[None], len(self.temperatures), 0)
        if len(before) and not data.pattern:
            result.arrays["samples"] = self._samples(systems[0], data, before, streams)
        return result

    def _samples(self, system: Any, data: TextData, before: np.ndarray, streams: Streams) -> np.ndarray:
        """What a network writes after the characters before the test part, a row per temperature."""
        import torch

        state = read_symbols(system, torch.from_numpy(before).long(), data.codes())
        banned = len(data.vocabulary) - 1 if data.vocabulary.has_unknown else -1
        rows = [
            sample_symbols(
                system,
                state[i : i + 1],
                data.codes(),
                self.sample_length,
                streams.at("sample", i).torch(),
                temperature=t,
                banned=banned,
            )[0][0].numpy()
            for i, t in enumerate(self.temperatures)
        ]
        return np.stack(rows)

    def conclude(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
    ) -> Evaluation:
        assert isinstance(data, TextData)
        # of a text that does not repeat itself, long contexts occur once and "decide" by that alone
        memory = needed_memory(data.numbers.numpy(force=True)) if data.pattern else None
        models = entries(results, histories)
        for name, entry in models.items():
            entry["verdict"] = model_verdict(results[name], entry["training"]["best_repeat"], references, data, memory)
        metrics = {**run_metrics(models, references), "best_ngram": best_ngram(references), "needed_memory": memory}
        chosen = metrics["chosen_model"]
        best = best_results(models, results)[chosen]
        tables = [score_table(metrics, data, part) for part in reversed(PARTS)]
        if "free_run" in best.scores:
            tables.append(free_run_table(metrics))
            tables.append(checklist(best, references, data, memory))
        tables.append(example_table(best, data))
        kept = {f"{chosen}_samples": best.arrays["samples"]} if "samples" in best.arrays else {}
        notes = (NOTE, *memory_note(memory, data), *unknown_note(data))
        return Evaluation(metrics, kept_arrays(references, results), tuple(tables), HEADLINES, notes, kept)

    def figures(
        self,
        data: TrainingData,
        references: dict[str, ModelResult],
        results: dict[str, list[ModelResult]],
        histories: dict[str, list[History]],
        evaluation: Evaluation,
    ) -> Iterator[Figure]:
        assert isinstance(data, TextData)
        chosen = evaluation.metrics["chosen_model"]
        best = int(evaluation.metrics["models"][chosen]["training"]["best_repeat"])
        yield from text_figures(data, references, results, histories, chosen, best)
        result = results[chosen][best]
        if "samples" in result.arrays:
            yield samples(data, chosen, result.arrays["samples"], self.temperatures, self.prompt)


def score_table(metrics: dict[str, Any], data: TextData, part: str) -> Table:
    """Scores of everybody on one part, best first."""
    rows = [Row(n, "model", m[part], m.get(f"{part}_sd", {})) for n, m in metrics["models"].items()]
    rows += [Row(label(n), "baseline", scores[part]) for n, scores in metrics["baselines"].items()]
    rows.sort(key=lambda row: row.values["bits"] if math.isfinite(row.values["bits"]) else math.inf)
    first, stop = data.spans[part]
    return Table(f"{part.capitalize()} part: {stop - first:,} characters", COLUMNS, tuple(rows))


def free_run_table(metrics: dict[str, Any]) -> Table:
    """How far everybody's free run follows the text."""
    columns = (
        Column("right", "share of characters right", "high"),
        Column("until_wrong", "right before the first wrong one", "high"),
    )
    rows = [Row(n, "model", m["free_run"], m.get("free_run_sd", {})) for n, m in metrics["models"].items() if "free_run" in m]
    rows += [Row(label(n), "baseline", s["free_run"]) for n, s in metrics["baselines"].items() if "free_run" in s]
    return Table("Free run: every character written is the next one read", columns, tuple(rows))


def checklist(best: ModelResult, references: dict[str, ModelResult], data: TextData, memory: int | None) -> Table:
    """What the network had to reach, and whether it did."""
    run, test = best.scores["free_run"], best.scores["test"]
    chance = references[UNIFORM].scores["test"]["bits"]
    first, stop = data.spans["test"]
    count, wrong = stop - first, round((1 - test["accuracy"]) * (stop - first))
    checks = {
        "it learned something": (test["bits"] < chance, f"{test['bits']:.3g} bits against {chance:.3g} of guessing"),
        "every test character right": (wrong == 0, f"{count - wrong} of {count}"),
        "free run exact": (
            run["right"] == 1.0,
            f"{round(run['right'] * run['characters'])} of {run['characters']:.0f} characters right",
        ),
    }
    rows = tuple(Row(name, "", {"found": found, "reached": "yes" if ok else "no"}) for name, (ok, found) in checks.items())
    advice = "" if all(ok for ok, _ in checks.values()) else TROUBLE.format(memory="a few" if memory is None else memory)
    return Table("Success checklist", (Column("found", "found"), Column("reached", "reached")), rows, advice)


TROUBLE = (
    "If the loss does not fall: a larger trainer.learning_rate, or trainer.clip_norm against jumps. If it falls and accuracy stays "
    "low: more trainer.epochs, more units, and a trainer.truncation above the {memory} characters that decide the next one."
)


def example_table(best: ModelResult, data: TextData) -> Table:
    """Input, target and prediction over the start of the test part, as strings of equal length."""
    decode = data.vocabulary.decode
    target = data.symbols_of("test", EXAMPLE)
    read = np.concatenate([data.context_of("test", 1), target[:-1]])
    predicted = best.arrays["test_best"][: len(target)]
    places = np.flatnonzero(predicted != target) + 1
    wrong = f"at {', '.join(map(str, places))}" if len(places) else "none"
    lines = {
        "input": shown(decode(read)),
        "target": shown(decode(target)),
        "predicted": shown(decode(predicted)),
        "wrong": wrong,
    }
    rows = tuple(Row(name, "", {"string": line}) for name, line in lines.items())
    return Table(f"The first {len(target)} characters of the test part", (Column("string", "characters", letters=True),), rows)


def memory_note(memory: int | None, data: TextData) -> tuple[str, ...]:
    """How many of the latest characters decide the next one, where they do."""
    if memory is None:
        return ("The latest 64 characters do not always decide the next one.",) if data.pattern else ()
    characters = "character decides" if memory == 1 else f"{memory} characters decide"
    return (
        f"Needed memory: the latest {characters} the next one throughout this text, counted exactly; a {memory + 1}-gram can "
        "be always right, and a network needs to remember no more.",
    )


def unknown_note(data: TextData) -> tuple[str, ...]:
    """How many test characters the vocabulary does not hold, where there are any."""
    if not data.vocabulary.has_unknown:
        return ()
    count = int((data.symbols_of("test") == len(data.vocabulary) - 1).sum())
    told = "1 character of the test part is" if count == 1 else f"{count:,} characters of the test part are"
    return (
        (f"{told} not in the vocabulary of the training part: read as one unknown symbol, and counted like any other.",)
        if count
        else ()
    )


def model_verdict(
    repeats: list[ModelResult], best: int, references: dict[str, ModelResult], data: TextData, memory: int | None
) -> str:
    """Does it beat the best n-gram, by how much, and do its repeats agree?"""
    own, rival = repeats[best], best_ngram(references)
    sentences = [_against_ngram(own, references[rival], rival, data, memory)]
    if "free_run" in own.scores:
        run = own.scores["free_run"]
        right, count = round(run["right"] * run["characters"]), round(run["characters"])
        told = f"free run: {right} of {count} characters right"
        sentences.append(told if right == count else f"{told}, the first wrong one after {run['until_wrong']:.0f}")
    if len(repeats) > 1:
        bits = sorted(r.scores["test"]["bits"] for r in repeats)
        if own.scores["test"]["accuracy"] == references[rival].scores["test"]["accuracy"] == 1.0:
            exact = sum(r.scores["test"]["accuracy"] == 1.0 for r in repeats)
            agreed = f"{exact} of them name every character right"
        else:
            beaten = sum(clearly(*difference(r, references[rival])) > 0 for r in repeats)
            agreed = f"{beaten} of them beat that n-gram"
        sentences.append(f"over {len(repeats)} repeats {bits[0]:.3g} to {bits[-1]:.3g} bits per character, {agreed}")
    return "; ".join(sentences) + "."


def clearly(mean: float, error: float) -> int:
    """1: fewer bits by more than two standard errors; -1: more; 0: neither."""
    return int(np.sign(mean)) if math.isfinite(mean) and abs(mean) > CLEAR * error else 0


def _against_ngram(own: ModelResult, other: ModelResult, rival: str, data: TextData, memory: int | None) -> str:
    mine, theirs = own.scores["test"], other.scores["test"]
    first, stop = data.spans["test"]
    where = f"the {stop - first:,} characters of the test part"
    if mine["accuracy"] == theirs["accuracy"] == 1.0:
        reason = (
            ""
            if memory is None
            else f" (the latest {'one' if memory == 1 else memory} of them decide{'s' * (memory == 1)} the next)"
        )
        return f"it equals the n-grams: both name all of {where} right{reason}"
    mean, error = difference(own, other)
    verb = {1: "beats", 0: "is not clearly different from", -1: "loses to"}[clearly(mean, error)]
    bounds = f" (95 % interval {mean - CLEAR * error:.2g} to {mean + CLEAR * error:.2g})" if math.isfinite(error) else ""
    less = f"{abs(mean):.2g} {'less' if mean >= 0 else 'more'}"
    if mean < 0 and bounds:
        bounds = f" (95 % interval {-mean - CLEAR * error:.2g} to {-mean + CLEAR * error:.2g})"
    return (
        f"on {where} it {verb} the best n-gram ({label(rival)}, chosen on the validation part): {mine['bits']:.4g} bits per "
        f"character against {theirs['bits']:.4g}, {less}{bounds}, {100 * mine['accuracy']:.1f} % of them named right against "
        f"{100 * theirs['accuracy']:.1f} %"
    )
