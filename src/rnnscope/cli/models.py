"""Verbs about models that exist: forecast, sample, fit-hmm, analyze, compare, report."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnnscope.cli.progress import carry_out, show_progress
from rnnscope.cli.shared import AllowSource, AsJson, Debug, Model, Out, Quiet, emit, finish, user_errors

if TYPE_CHECKING:
    from rnnscope.results import Run


def forecast(
    run_folder: Annotated[Path, typer.Argument(help="A run folder.")],
    steps: Annotated[int, typer.Option("--steps", help="How many steps beyond the end of the series.")] = 100,
    out: Annotated[Path, typer.Option("--out", help="CSV, Parquet or NPZ file.")] = Path("forecast.csv"),
    model: Model = None,
    series: Annotated[int, typer.Option("--series", help="Number of the series to continue.")] = 0,
    covariates: Annotated[str | None, typer.Option("--covariates", help="File with the coming covariates.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Forecast beyond the end of the series, with intervals."""
    with user_errors(debug, as_json):
        from rnnscope.output_files import read_covariates, write_frame
        from rnnscope.results import Run

        opened = Run(run_folder, allow_source=allow_source)
        known = read_covariates(covariates, opened) if covariates else None
        frame = opened.forecast(steps, model=model, series=series, covariates=known)
        write_frame(frame, out)
        name = model or opened.best_model()
        emit({"file": str(out), "model": name, "steps": steps}, as_json, f"{steps} steps by {name} -> {out}")


def sample(
    run_folder: Annotated[
        Path, typer.Argument(help="A run folder of a network that emulates an HMM, or that was trained on a text.")
    ],
    num_sequences: Annotated[
        int | None, typer.Option("--num-sequences", help="How many: 1000 sequences of an HMM, 1 text by default.")
    ] = None,
    num_steps: Annotated[
        int | None, typer.Option("--num-steps", "--length", help="How long each is: 100 steps, 400 characters by default.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="HMM: NPZ file (symbols, argmax, logits) or CSV (a row per sequence). Text: TXT or JSON file."
        ),
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Text: what the network reads first.")] = None,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", help="Text: below 1 the probable becomes more so; 0: no chance. 1 by default."),
    ] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Text: draw among the k most probable; 0: all.")] = None,
    model: Model = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the network's noise, or of the draws.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Let a network generate: sequences, where it emulates an HMM; text, where it was trained on one."""
    with user_errors(debug, as_json):
        from rnnscope.core.errors import ConfigError
        from rnnscope.core.text import TextData
        from rnnscope.results import Run

        opened = Run(run_folder, allow_source=allow_source)
        if isinstance(opened.data, TextData):
            found, said = _write_text(opened, num_sequences, num_steps, out, prompt, temperature, top_k, model, seed)
        else:
            for option, value in (("--prompt", prompt), ("--temperature", temperature), ("--top-k", top_k)):
                if value is not None:
                    raise ConfigError(f"{option} with a run that has no text", "a run of the task text", f"leave {option} out")
            found, said = _write_symbols(opened, num_sequences, num_steps, out, model, seed)
        emit(found, as_json, said)


def _write_text(
    run: "Run",
    num_texts: int | None,
    num_characters: int | None,
    out: Path | None,
    prompt: str | None,
    temperature: float | None,
    top_k: int | None,
    model: str | None,
    seed: int,
) -> tuple[dict[str, Any], str]:
    """Texts by a run's network, on the screen or in a file: what is told to programs, and to people."""
    from rnnscope.output_files import write_texts

    name = model or run.best_model()
    count, length = 1 if num_texts is None else num_texts, 400 if num_characters is None else num_characters
    made = run.write_text(
        length,
        prompt=prompt or "",
        num_sequences=count,
        model=model,
        temperature=1.0 if temperature is None else temperature,
        top_k=top_k or 0,
        seed=seed,
    )
    if out is not None:
        write_texts(made, out)
    told = {"file": None if out is None else str(out), "model": name, "note": made.note}
    said = f"{count} texts of {length} characters by {name} -> {out}" if out else _texts(made.prompt, made.texts)
    return {**told, "texts": [made.prompt + t for t in made.texts]}, said + (f"\n({made.note})" if made.note else "")


def _write_symbols(
    run: "Run", num_sequences: int | None, num_steps: int | None, out: Path | None, model: str | None, seed: int
) -> tuple[dict[str, Any], str]:
    """Sequences by a run's network in a file: what is told to programs, and to people."""
    from rnnscope.output_files import write_sequences

    name = model or run.best_model()
    count, steps = 1000 if num_sequences is None else num_sequences, 100 if num_steps is None else num_steps
    target = out or Path("sequences.npz")
    write_sequences(run.sample(count, steps, model=model, seed=seed), target)
    found = {"file": str(target), "model": name, "sequences": count, "steps": steps}
    return found, f"{count} sequences of {steps} steps by {name} -> {target}"


def _texts(prompt: str, texts: tuple[str, ...]) -> str:
    """Texts for people: each with its prompt, several under numbers."""
    if len(texts) == 1:
        return prompt + texts[0]
    return "\n\n".join(f"[{number}]\n{prompt}{text}" for number, text in enumerate(texts, 1))


def fit_hmm(
    data: Annotated[str, typer.Argument(help="CSV, Parquet or NPZ file of sequences.")],
    num_states: Annotated[str, typer.Option("--num-states", help="A number, a range 1..6 or a list 2,3,5.")] = "1..6",
    column: Annotated[
        list[str] | None, typer.Option("--column", help="Column with the observations. Repeatable: a vector per step.")
    ] = None,
    sequence: Annotated[str | None, typer.Option("--sequence", help="Column that tells sequences apart.")] = None,
    emissions: Annotated[
        str, typer.Option("--emissions", help="categorical, gaussian (diagonal), gaussian-full, or auto.")
    ] = "auto",
    choose: Annotated[str, typer.Option("--choose", help="held-out or bic.")] = "held-out",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the starts and of the held-out part.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file for the chosen model.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit hidden Markov models to your own sequences and choose the number of states."""
    with user_errors(debug, as_json):
        from rnnscope.fitting import fit_file, selection_text, write_model

        found = fit_file(data, num_states, column, sequence, emissions, choose, seed)
        if out is not None:
            write_model(found, out)
        emit(found.plain(), as_json, selection_text(found, out))


def analyze(
    target: Annotated[
        Path, typer.Argument(help="A run folder, or a network in a file: .safetensors, .pt, .pth, .keras, .npz.")
    ],
    analysis: Annotated[
        list[str] | None, typer.Option("--analysis", help="Which analysis; all that apply by default. Repeatable.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: field=value, or ANALYSIS.field=value. Repeatable.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Which model of a run; the best by validation by default.")
    ] = None,
    nonlinearity: Annotated[
        str | None,
        typer.Option("--nonlinearity", help="Of a plain RNN's weights, which do not tell it: tanh (default) or relu."),
    ] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Of the recurrent module, where a file holds several.")] = None,
    out: Out = Path("runs"),
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Look at what a run's model, or a network that comes as weights, does: a report of its dynamics."""
    with user_errors(debug, as_json):
        from rnnscope.api import analyses_for, weights_experiments
        from rnnscope.interchange import imported_experiment, with_analyses
        from rnnscope.models.state_dict import SUFFIXES
        from rnnscope.pipeline import analyze_run, open_folder
        from rnnscope.results import Run

        refuse_idle(target, model, nonlinearity, prefix)
        if target.is_file():
            fields = {k: v for k, v in (("nonlinearity", nonlinearity), ("prefix", prefix)) if v is not None}
            folders = []
            if target.suffix.lower() in SUFFIXES:
                experiments = weights_experiments(str(target), fields, analysis, assignments)
            else:
                experiments = [with_analyses(imported_experiment(target, **fields), analysis, assignments)]
            for one in experiments:
                folders.append(open_folder(one, out))
                carry_out(one, folders[-1], quiet or as_json)
            finish(folders, as_json)
            return
        opened = Run(target, allow_source=allow_source)
        analyses = analyses_for(opened.experiment, opened.model(model), opened.data, analysis, assignments)
        show_progress(analyze_run(opened, analyses, model, strict=analysis is not None), quiet or as_json)
        told = {name: opened.folder.read_json(f"findings/{name}.json")["statements"] for name in analyses}
        path = opened.path / "report.html"
        text = "\n".join(f"{name}: {line}" for name, lines in told.items() for line in lines[:2])
        emit({"report": str(path), "findings": told}, as_json, f"{text}\nreport: {path}")


def refuse_idle(target: Path, model: str | None, nonlinearity: str | None, prefix: str | None) -> None:
    """Refuse options that have no meaning for a run folder, or for a file of weights."""
    from rnnscope.core.errors import ConfigError

    if target.is_file() and model is not None:
        raise ConfigError("--model with a file of weights", "a run folder, which may hold several models", "leave --model out")
    for name, value in (("--nonlinearity", nonlinearity), ("--prefix", prefix)):
        if not target.is_file() and value is not None:
            raise ConfigError(f"{name} with a run folder", "a file of weights", f"leave {name} out: the run knows its models")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for comparison.csv, .png, .svg and .html.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    allow_source: AllowSource = False,
) -> None:
    """Compare runs: one table, one figure."""
    with user_errors(debug, as_json):
        from rnnscope.comparison import frame_text, write_comparison
        from rnnscope.results import Run

        target = out or Path("comparison")
        frame = write_comparison([Run(r, allow_source=allow_source) for r in runs], target)
        emit(
            {"folder": str(target), "rows": json.loads(frame.to_json(orient="records"))},
            as_json,
            f"{frame_text(frame)}\n{target / 'comparison.html'}",
        )


def report(
    run_folder: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the report page again from what lies in the folder; of a study or a batch the page that compares its runs."""
    with user_errors(debug, as_json):
        from rnnscope.comparison import StudyRun
        from rnnscope.runs.folder import RunFolder
        from rnnscope.runs.report import render_report

        folder = RunFolder.open(run_folder)
        path = StudyRun(run_folder).write_report() if folder.has("batch.json") else render_report(folder)
        emit({"report": str(path)}, as_json, str(path))
