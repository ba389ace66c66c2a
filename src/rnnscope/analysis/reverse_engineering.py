"""Open a network that generates symbols from noise: what the published study of such networks claims, asked of this one.

Torre, Viscione, Pompe, Grewe, Mante (2025), "Mechanistic Interpretability of RNNs emulating Hidden Markov Models",
arXiv 2510.25674. Each statement of the findings names its evidence, and says so where a claim does not hold.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnscope.analysis import figures_kick, figures_reverse
from rnnscope.analysis.claims import claims, findings_tables
from rnnscope.analysis.development import development, drop_epoch
from rnnscope.analysis.driven_jacobian import Spectra, driven_spectra
from rnnscope.analysis.figures_state_space import scree_figure
from rnnscope.analysis.homogeneity import homogeneity
from rnnscope.analysis.kick_units import find_kick_units, gain_sweep, opposition, switch_averages
from rnnscope.analysis.readout_geometry import pair_planes, readout_alignment
from rnnscope.analysis.relaxations import relaxations
from rnnscope.analysis.residency import noise_sensitivity, residency, zones
from rnnscope.analysis.resonance import resonance
from rnnscope.analysis.trajectory_html import trajectory_3d_html
from rnnscope.core.driven import DrivenPaths, drive, in_double, switch_rate, symbol_shares
from rnnscope.core.interfaces import AnalysisSpec, Findings, Trained, TrainingData
from rnnscope.core.random import Streams
from rnnscope.core.spec import NonNegative, Positive, PositiveFloat
from rnnscope.core.system import DynamicalSystem, SequenceModel, only_system
from rnnscope.core.tables import Figure
from rnnscope.dynamics.components import principal_components
from rnnscope.dynamics.limiting_rays import limiting_rays
from rnnscope.markov.emulation import EmulationData


class ReverseEngineering(AnalysisSpec):
    """Principal components, rays, driven Jacobians, residency, kick units, readout geometry, resonance and development.

    Fields:
        num_paths, num_steps, burn_in: of the main drive with standard normal noise.
        num_components: states in the principal component analysis. num_states: states whose residency is measured;
            num_rollouts, horizon: noisy roll-outs of each, and how long they wait for a change of output.
        num_jacobians: states among these at which the eigenvalues of the figure are taken.
        max_kick_units: largest group of the ablation search; 0 switches it off. control_groups: random groups beside it.
        num_development: paths per kept epoch; 0 leaves the development out.
        shown_points: of the interactive trajectory.
        noise_scale: sd of the noise.
    """

    num_paths: Positive = 3000
    num_steps: Positive = 1000
    burn_in: NonNegative = 100
    num_components: Positive = 30_000
    num_states: Positive = 2000
    num_rollouts: Positive = 20
    horizon: Positive = 100
    num_jacobians: Positive = 2000
    max_kick_units: NonNegative = 6
    control_groups: Positive = 4
    num_development: NonNegative = 100
    shown_points: Positive = 4000
    noise_scale: PositiveFloat = 1.0

    def obstacle(self, model: SequenceModel, data: TrainingData) -> str:
        return "" if isinstance(data, EmulationData) else "it is about networks that generate symbols from noise"

    def run(self, trained: Trained, data: TrainingData, streams: Streams) -> Findings:
        system = only_system(trained.model)
        found = self.look(system, streams)
        if self.num_development and trained.development:
            kept = [(epoch, only_system(model)) for epoch, model in trained.development]
            found["development"] = development(kept, streams.at("development").torch(), num_paths=self.num_development)
            losses = trained.history.columns.get("validation_loss")
            if losses is not None and np.isfinite(losses).sum() > 10:
                found["losses"] = losses[np.isfinite(losses)]
                # the plateau of independent symbols lasts a few percent of a run: a wider window passes over it
                found["drop"] = drop_epoch(found["losses"], window=max(3, len(found["losses"]) // 60))
        statements = claims(found)
        return Findings(tuple(statements), _metrics(found), _arrays(found), findings_tables(found), found)

    def look(self, system: DynamicalSystem, streams: Streams) -> dict[str, Any]:
        """Every result by name, for one system."""

        def rng(name: str) -> torch.Generator:
            return streams.at(name).torch()

        found: dict[str, Any] = {"num_symbols": system.output_size}
        double = in_double(system)
        found["homogeneity"] = homogeneity(double, rng("homogeneity"))
        # the long drive: statistics of outputs and a thinned cloud of states; then a shorter one with inputs and every step
        stride = max(1, self.num_paths * self.num_steps // max(self.num_components, 1))
        long = drive(
            system,
            self.num_steps,
            self.num_paths,
            rng("drive"),
            burn_in=self.burn_in,
            noise_scale=self.noise_scale,
            stride=min(stride, self.num_steps),
        )
        found["switch_rate"], found["shares"] = switch_rate(long.symbols), symbol_shares(long.symbols, system.output_size)
        found["driven_steps"] = self.num_paths * self.num_steps
        cloud, cloud_symbols = long.pool(self.num_components)
        found["components"] = principal_components(cloud)
        found["mean_norm"] = float(cloud.norm(dim=1).mean())
        path = drive(
            system,
            400,
            100,
            rng("path"),
            noise_scale=self.noise_scale,
            start=long.final_state[torch.arange(100) % len(long.final_state)],
            burn_in=0,
            keep_inputs=True,
        )
        found["path"] = path
        found["relaxations"] = relaxations(system, cloud[:: max(1, len(cloud) // 200)][:200])
        if found["homogeneity"].applies:
            starts = torch.cat([cloud[:: max(1, len(cloud) // 300)][:300], _random_positive(cloud, rng("rays"))])
            starts = starts[starts.norm(dim=1) > 0].double()
            found["rays"] = limiting_rays(double, starts)
        found |= self._along(system, path, rng)
        found["readout"] = readout_alignment(system, cloud[:50], found["components"])
        found["pairs"] = pair_planes(path.states, path.symbols, system.output_size)
        found["resonance"] = resonance(system, rng("resonance"))
        found["cloud"], found["cloud_symbols"] = cloud, cloud_symbols
        return found

    def _along(self, system: DynamicalSystem, path: DrivenPaths, rng: Any) -> dict[str, Any]:
        """Jacobians, residency, sensitivity and kick units along a driven path."""
        assert path.inputs is not None
        found: dict[str, Any] = {}
        before = torch.cat([path.start[:, None], path.states[:, :-1]], 1)
        rows, times = _spread(path.states.shape[0], path.states.shape[1] - 10, self.num_states)
        states = path.states[rows, times]
        chosen = torch.arange(len(rows))[:: max(1, len(rows) // self.num_jacobians)]
        spectra = driven_spectra(system, before[rows, times], path.inputs[rows, times])
        found["spectra"] = Spectra(*(getattr(spectra, one.name)[chosen] for one in dataclasses.fields(spectra)))
        found["residency"] = residency(
            system,
            states,
            rng("residency"),
            num_rollouts=self.num_rollouts,
            horizon=self.horizon,
            noise_scale=self.noise_scale,
        )
        found["zones"] = zones(found["residency"], system.output_size, num_unstable=spectra.num_unstable)
        found["residency_states"] = states
        ahead = torch.stack([path.inputs[r, t + 1 : t + 6] for r, t in zip(rows.tolist(), times.tolist(), strict=True)])
        found["sensitivity"] = noise_sensitivity(
            system, states, ahead, found["zones"].zone, rng("sensitivity"), noise_scale=self.noise_scale
        )
        if self.max_kick_units:
            found |= self._kick(system, path, before, rng)
        return found

    def _kick(self, system: DynamicalSystem, path: DrivenPaths, before: Tensor, rng: Any) -> dict[str, Any]:
        assert path.inputs is not None
        starts = path.final_state
        kick = find_kick_units(
            system, starts, rng("kick"), max_units=self.max_kick_units, min_gain=0.02, noise_scale=self.noise_scale
        )
        found: dict[str, Any] = {"kick": kick}
        if not len(kick.units):
            return found
        found["gains"] = [
            gain_sweep(
                system,
                starts,
                kick.units,
                rng(f"gain {target}"),
                target=target,
                num_controls=self.control_groups,
                noise_scale=self.noise_scale,
            )
            for target in ("output", "noise")
        ]
        common = _common_switches(path.symbols)
        found["averages"] = [switch_averages(path.states, path.symbols, kick.units, origin=a, target=b) for a, b in common]
        if len(kick.units) > 1:
            flat = slice(0, 500)
            found["opposition"] = opposition(system, before.flatten(0, 1)[flat], path.inputs.flatten(0, 1)[flat], kick.units)
        return found

    def figures(self, findings: Findings) -> Iterator[Figure]:
        r = findings.results
        components, count = r["components"], r["num_symbols"]
        yield scree_figure(components, "the driven states")
        shown = figures_reverse.trajectory_figure(components, r["path"].states[0], r["path"].symbols[0], count)
        yield _with_view(shown, r, self.shown_points)
        yield figures_reverse.relaxation_figure(components, r["relaxations"], count)
        yield figures_reverse.eigenvalue_figure(r["spectra"])
        yield figures_reverse.residency_figure(components, r["residency_states"], r["residency"], r["zones"])
        yield figures_kick.sensitivity_figure(r["sensitivity"])
        if "kick" in r:
            yield figures_kick.ablation_figure(r["kick"])
        if r.get("averages"):
            yield figures_kick.switch_average_figure(r["averages"])
        if "gains" in r:
            yield figures_kick.gain_figure(r["gains"])
        if "opposition" in r:
            yield figures_kick.opposition_figure(r["opposition"])
        yield figures_reverse.readout_figure(components, r["readout"], r["cloud"][:3000], r["cloud_symbols"][:3000])
        yield figures_reverse.resonance_figure(r["resonance"])
        if "development" in r:
            drop = r["drop"].epoch if "drop" in r else None
            yield figures_reverse.development_figure(r["development"], r.get("losses"), drop)


def _with_view(figure: Figure, r: dict[str, Any], most: int) -> Figure:
    """The trajectory with an interactive view of three components below it."""
    if len(r["components"].explained_variance_ratio) < 3:
        return figure
    length = r["path"].states.shape[1]
    rows = max(1, most // length)
    points = r["components"].project(r["path"].states[:rows, :most], 3).reshape(-1, 3)
    symbols = r["path"].symbols[:rows, :most].reshape(-1)
    each = min(most, length)
    breaks = range(each, len(points), each)
    view = trajectory_3d_html(points.numpy(), symbols.numpy(), "States along driven paths, coloured by output", breaks=breaks)
    return dataclasses.replace(figure, interactive=view)


def _random_positive(cloud: Tensor, rng: torch.Generator) -> Tensor:
    """Random states of the size of the driven ones, with as many zeros."""
    size = cloud.norm(dim=1).mean()
    share = float((cloud[:500] > 0).float().mean())
    drawn = torch.rand(100, cloud.shape[1], generator=rng, dtype=cloud.dtype)
    drawn = drawn * (torch.rand(drawn.shape, generator=rng) < max(share, 0.05))
    return drawn / drawn.norm(dim=1, keepdim=True).clamp_min(1e-12) * size


def _spread(paths: int, steps: int, count: int) -> tuple[Tensor, Tensor]:
    flat = torch.linspace(0, paths * steps - 1, min(count, paths * steps), dtype=torch.float64).long()
    return flat // steps, flat % steps


def _common_switches(symbols: Tensor, most: int = 4) -> list[tuple[int, int]]:
    """The pairs (from, to) that occur most often."""
    changed = symbols[:, 1:] != symbols[:, :-1]
    pairs = torch.stack([symbols[:, :-1][changed], symbols[:, 1:][changed]], 1)
    if not len(pairs):
        return []
    unique, counts = torch.unique(pairs, dim=0, return_counts=True)
    order = counts.argsort(descending=True)[:most]
    enough = [i for i in order.tolist() if int(counts[i]) >= 20]
    return [(int(unique[i, 0]), int(unique[i, 1])) for i in enough]


def _metrics(r: dict[str, Any]) -> dict[str, Any]:
    shares = r["components"].explained_variance_ratio
    found: dict[str, Any] = {
        "driven_steps": r["driven_steps"],
        "switch_rate_argmax": r["switch_rate"],
        "symbol_shares_argmax": r["shares"].tolist(),
        "explained_variance_ratio": shares[:10].tolist(),
        "participation_ratio": r["components"].participation_ratio,
        "mean_norm": r["mean_norm"],
        "homogeneity": {"applies": r["homogeneity"].applies, "deviation": r["homogeneity"].deviation.tolist()},
        "driven_spectral_radius": float(r["spectra"].spectral_radius.mean()),
        "driven_num_unstable": float(r["spectra"].num_unstable.double().mean()),
        "active_share": float(r["spectra"].active_share.mean()),
        "zone_shares": r["zones"].shares.tolist(),
        "zone_num_unstable": r["zones"].num_unstable.tolist(),
        "censored_share": float(r["residency"].censored_share.mean()),
        "readout_inside_plane": r["readout"].inside.tolist(),
    }
    if "rays" in r:
        found["ray_decay_rates"] = r["rays"].decay_rates.tolist()
        found["ray_basin_shares"] = r["rays"].basin_shares.tolist()
    if "kick" in r:
        found["kick_units"] = r["kick"].units.tolist()
        found["kick_score"] = r["kick"].score.tolist()
    if "drop" in r:
        found["drop_epoch"] = r["drop"].epoch
    return found


def _arrays(r: dict[str, Any]) -> dict[str, np.ndarray]:
    components = r["components"]
    return {
        "pca_mean": components.mean.numpy(),
        "pca_axes": components.axes[:10].numpy(),
        "pca_variances": components.variances.numpy(),
        "trajectory_states": components.project(r["path"].states[:5], 10).numpy().astype(np.float32),
        "trajectory_symbols": r["path"].symbols[:5].numpy(),
        "residency_steps": r["residency"].mean_steps.numpy(),
        "residency_zone": r["zones"].zone.numpy(),
        "eigenvalues": r["spectra"].eigenvalues.numpy(),
    }
