"""A sentence or two for each figure, with its numbers."""

import numpy as np

from rnnscope.evaluation.story import Story


def series_caption(story: Story) -> str:
    counts = story.data.describe()["targets"]
    parts = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
    return (
        f"The series with its split; targets: {parts}. Scaling is fitted on the training part only."
        if not story.leaky
        else "The series; training and test windows are mixed, which is the mistake this run demonstrates."
    )


def prediction_caption(story: Story, name: str) -> str:
    scores = story.best_repeat(name).scores["test"]
    fit = f", R² {scores['r2']:.4g}" if "r2" in scores else ""
    return f"One-step forecasts of {name}{_repeat(story, name)}: test RMSE {scores['rmse']:.4g}{fit}."


def _repeat(story: Story, name: str) -> str:
    """, repeat 3: which one is drawn, where there are several."""
    number = int(story.evaluation.metrics["models"][name]["training"]["best_repeat"])
    return f", repeat {number + 1}" if len(story.results[name]) > 1 else ""


def errors_caption(story: Story, name: str) -> str:
    return f"One-step errors of {name}{_repeat(story, name)} on the test part; the dashed line is zero."


def loss_caption(story: Story, name: str) -> str:
    training = story.evaluation.metrics["models"][name]["training"]
    unit = story.histories[name][0].outcome.unit.split()[0]
    return f"Loss per {unit} of {name}; weights of {unit} {training['epochs']:.0f} were kept ({training['criterion']}), after {training['seconds']:.1f} s of training."


def closed_loop_caption(story: Story) -> str:
    steps = len(next(iter(story.results.values()))[0].arrays["closed_loop_forecast"])
    errors = {n: [r.scores["closed_loop"].get("rmse", np.inf) for r in rs] for n, rs in story.results.items()}
    scores = ", ".join(f"{n} {np.mean(e):.3g}" if np.isfinite(e).all() else f"{n} diverged" for n, e in errors.items())
    window = story.evaluation.metrics["closed_loop_mode"] == "window"
    how = "the last window is re-run from the initial state at every step" if window else "the state is carried on"
    return f"Free run of {steps} steps from the end of the known values, fed with its own outputs; {how}. RMSE: {scores}."


def generation_caption(story: Story) -> str:
    scores = ", ".join(f"{n} {story.best_repeat(n).scores['generation']['rmse']:.3g}" for n in story.results)
    spread = float(story.data.series[0].values[:, 0].std())
    return f"The whole series generated from its first values alone, training part included. RMSE: {scores}; the series has sd {spread:.3g}."


def lead_caption(story: Story) -> str:
    return "Error by lead time, over rolling origins in the test part: where a curve lies above a baseline's, the baseline is the better forecast."


def interval_caption(story: Story, name: str) -> str:
    scores = story.best_repeat(name).scores["intervals"]
    origin = (
        " Errors came from the training part itself, as no calibration part was set aside."
        if scores["calibrated_in_sample"]
        else ""
    )
    return f"One-step intervals of {name}{_repeat(story, name)}: {100 * scores['coverage']:.1f} % of the test steps lie inside, {100 * scores['nominal']:.0f} % were promised.{origin}"
