"""Progress of a walk on the terminal, and Ctrl-C that loses nothing."""

import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnscope.experiment import Experiment
    from rnnscope.pipeline import Event
    from rnnscope.runs.folder import RunFolder


def carry_out(experiment: "Experiment", folder: "RunFolder", quiet: bool) -> None:
    """Loop over the walk: a progress bar per training, and Ctrl-C that finishes the epoch and saves."""
    from rnnscope.pipeline import walk

    asked = [False]

    def on_interrupt(number: int, frame: Any) -> None:
        if asked[0]:
            raise KeyboardInterrupt
        asked[0] = True
        print("\nfinishing this epoch, then saving; Ctrl-C again stops at once", file=sys.stderr)

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        show_progress(walk(experiment, folder, lambda: asked[0]), quiet)
    finally:
        signal.signal(signal.SIGINT, previous)


def show_progress(events: "Iterator[Event]", quiet: bool) -> None:
    """Go through the events of a walk, with a bar per stage on standard error unless `quiet`."""
    if quiet:
        for _ in events:
            pass
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    from rnnscope.pipeline import Progress, Stage

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        current = None
        for event in events:
            if isinstance(event, Stage):
                if current is not None:
                    bars.stop_task(current)
                current = bars.add_task(event.text, total=event.total or 1, note="")
                if not event.total:
                    bars.advance(current)
            elif isinstance(event, Progress) and current is not None:
                bars.update(current, completed=event.record.epoch, note=_note(event.record.values))


def _note(values: dict[str, float]) -> str:
    names = {"train_loss": "train", "validation_loss": "validation", "test_loss": "test"}
    if "validation_accuracy" in values:
        names |= {"train_accuracy": "accuracy: train", "validation_accuracy": "validation"}
    return "  ".join(f"{short} {values[long]:.3g}" for long, short in names.items() if long in values)
