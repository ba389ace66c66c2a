"""All presets by name. A plain table of words, so that listing them imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """builder: "module:function" that returns the experiment. summary: one line. scope_row: what it serves."""

    builder: str
    summary: str
    scope_row: str


_OSC = "rnnscope.presets.oscillations"
_ODE = "rnnscope.presets.differential_equations"
_REAL = "rnnscope.presets.real_series"
_HMM = "rnnscope.presets.hidden_markov"
_MEMORY = "rnnscope.presets.memory"

PRESETS: dict[str, Preset] = {
    "sunspots": Preset(
        f"{_REAL}:sunspots", "Yearly sunspot numbers 1700-2008: a small GRU with linear taps, one year ahead", "A10"
    ),
    "co2": Preset(f"{_REAL}:co2", "Monthly CO2 at Mauna Loa 1958-2001: trend and season", "A10"),
    "nile": Preset(
        f"{_REAL}:nile", "Annual flow of the Nile 1871-1970: short and noisy; is there anything to forecast?", "A10"
    ),
    "table": Preset(f"{_REAL}:table", "Your own file: --set task.path=data.csv --set task.target=COLUMN", "A10"),
    "sine": Preset(f"{_OSC}:sine", "Noisy sine: Elman, LSTM and GRU side by side", "A1-A6"),
    "sine-best": Preset(
        f"{_OSC}:sine_best", "Noisy sine with what works: long linear taps, ridge start, multi-step training", "A3, A6"
    ),
    "sine-quick": Preset(f"{_OSC}:sine_quick", "Noisy sine in seconds: one small GRU, few epochs", "A1-A6"),
    "cosine": Preset(f"{_OSC}:cosine", "Noisy cosine: Elman, LSTM and GRU side by side", "A1-A6"),
    "combined": Preset(f"{_OSC}:combined", "sin t + 0.5 sin 2t with noise: Elman, LSTM and GRU side by side", "A1-A6"),
    "damped": Preset(f"{_OSC}:damped", "exp(-t/10) sin t with noise: the test part is smaller than the training part", "A1-A6"),
    "sine-small": Preset(
        f"{_OSC}:sine_small", "A simple RNN of 16 units on 500 points of a sine, with a validation part", "A9"
    ),
    "driven-oscillator": Preset(
        f"{_ODE}:driven_oscillator", "Driven damped oscillator, dt 0.001: LSTM on windows of levels, as usually done", "A7"
    ),
    "driven-oscillator-reduced": Preset(f"{_ODE}:driven_oscillator_reduced", "The same with dt 0.002 and 5000 points", "A7"),
    "driven-oscillator-best": Preset(
        f"{_ODE}:driven_oscillator_best", "The same done well: second differences, forcing as input, several trajectories", "A7"
    ),
    "driven-oscillator-euler": Preset(
        f"{_ODE}:driven_oscillator_euler", "The Euler map v' = v + dt(F - 2γv - x), seen as a recurrence", "A7"
    ),
    "one-step": Preset(
        f"{_ODE}:one_step", "One-step model (window 1) of the oscillator, then closed loop over the whole trajectory", "A8"
    ),
    "window-ten": Preset(f"{_ODE}:window_ten", "The same with a window of ten values (compare the two)", "A8"),
    "one-step-leaky": Preset(
        f"{_ODE}:one_step_leaky", "DEMONSTRATION of a leak: one-step with random windows and scaling on everything", "A8"
    ),
    "window-ten-leaky": Preset(
        f"{_ODE}:window_ten_leaky", "DEMONSTRATION of a leak: window-ten with random windows and scaling on everything", "A8"
    ),
    "pendulum": Preset(f"{_ODE}:pendulum", "Frictionless pendulum, unseen initial angles", "A7"),
    "van-der-pol": Preset(f"{_ODE}:van_der_pol", "Van der Pol oscillator: a limit cycle", "A7"),
    "duffing": Preset(f"{_ODE}:duffing", "Chaotic driven Duffing oscillator, forcing as input", "A7"),
    "lorenz63": Preset(f"{_ODE}:lorenz63", "Lorenz-63: chaotic, all three variables seen", "A7"),
    "rossler": Preset(f"{_ODE}:rossler", "Rössler system: mildly chaotic", "A7"),
    "lorenz96": Preset(f"{_ODE}:lorenz96", "Lorenz-96 with 8 variables", "A7"),
    "mackey-glass": Preset(f"{_ODE}:mackey_glass", "Mackey-Glass delay equation, τ = 17", "A7"),
    "hmm": Preset(
        f"{_HMM}:hmm",
        "Teach a network to emulate an HMM: a sticky chain, or your own --set task.transition_matrix=… task.emission_probs=…",
        "H",
    ),
    "hmm-chain-2": Preset(f"{_HMM}:chain_2", "Two-state chain, T = 100: the study's protocol, pure transport, 500 epochs", "H"),
    "hmm-chain-2-quick": Preset(f"{_HMM}:chain_2_quick", "Two-state chain, T = 100: the same story in two minutes", "H"),
    "hmm-chain-3": Preset(
        f"{_HMM}:chain_3", "Three-state chain, T = 30: the study's protocol, pure transport, 500 epochs", "H"
    ),
    "hmm-chain-3-quick": Preset(f"{_HMM}:chain_3_quick", "Three-state chain, T = 30: the same story in two minutes", "H"),
    "hmm-chain-4": Preset(f"{_HMM}:chain_4", "Four-state chain, T = 30: the study's protocol, pure transport, 500 epochs", "H"),
    "hmm-chain-4-quick": Preset(f"{_HMM}:chain_4_quick", "Four-state chain, T = 30: the same story in two minutes", "H"),
    "hmm-chain-5": Preset(f"{_HMM}:chain_5", "Five-state chain, T = 40: the study's protocol, pure transport, 500 epochs", "H"),
    "hmm-chain-5-quick": Preset(f"{_HMM}:chain_5_quick", "Five-state chain, T = 40: the same story in two minutes", "H"),
    "hmm-fully-3": Preset(
        f"{_HMM}:fully_3",
        "Three states, all connected, a symbol each, T = 30: the study's protocol, pure transport, 1000 epochs",
        "H",
    ),
    "hmm-fully-3-quick": Preset(
        f"{_HMM}:fully_3_quick", "Three states, all connected, a symbol each, T = 30: the same story in two minutes", "H"
    ),
    "hmm-cyclic-4": Preset(
        f"{_HMM}:cyclic_4",
        "Four states in a ring that share symbols, T = 40: the study's protocol, pure transport, 500 epochs",
        "H",
    ),
    "hmm-cyclic-4-quick": Preset(
        f"{_HMM}:cyclic_4_quick", "Four states in a ring that share symbols, T = 40: the same story in two minutes", "H"
    ),
    "hmm-small": Preset(
        f"{_HMM}:small",
        "Two sticky states, Gaussian emissions, T = 100: a network of the study's size, taught in minutes",
        "H",
    ),
    "hmm-small-quick": Preset(
        f"{_HMM}:small_quick", "Two sticky states, Gaussian emissions, T = 100: the same story in two minutes", "H"
    ),
    "hmm-medium": Preset(
        f"{_HMM}:medium",
        "Three sticky states, Gaussian emissions, T = 100: a network of the study's size, taught in minutes",
        "H",
    ),
    "hmm-medium-quick": Preset(
        f"{_HMM}:medium_quick", "Three sticky states, Gaussian emissions, T = 100: the same story in two minutes", "H"
    ),
    "hmm-large": Preset(
        f"{_HMM}:large",
        "Four sticky states, Gaussian emissions, T = 100: a network of the study's size, taught in minutes",
        "H",
    ),
    "hmm-large-quick": Preset(
        f"{_HMM}:large_quick", "Four sticky states, Gaussian emissions, T = 100: the same story in two minutes", "H"
    ),
    "hmm-very-large": Preset(
        f"{_HMM}:very_large",
        "Five sticky states, Gaussian emissions, T = 100: a network of the study's size, taught in minutes",
        "H",
    ),
    "hmm-very-large-quick": Preset(
        f"{_HMM}:very_large_quick", "Five sticky states, Gaussian emissions, T = 100: the same story in two minutes", "H"
    ),
    "hmm-default": Preset(
        f"{_HMM}:default",
        "Three sticky states, random initial states, three learning rates, T = 150: a network of the study's size, taught in minutes",
        "H",
    ),
    "hmm-default-quick": Preset(
        f"{_HMM}:default_quick",
        "Three sticky states, random initial states, three learning rates, T = 150: the same story in two minutes",
        "H",
    ),
    "flip-flop": Preset(f"{_MEMORY}:flip_flop", "Three bits to remember: a tanh network of 64 units", "I"),
    "flip-flop-gru": Preset(f"{_MEMORY}:flip_flop_gru", "Three bits to remember: a GRU of 64 units", "I"),
    "flip-flop-lstm": Preset(f"{_MEMORY}:flip_flop_lstm", "Three bits to remember: an LSTM of 64 units", "I"),
    "flip-flop-quick": Preset(f"{_MEMORY}:flip_flop_quick", "Three bits to remember: a GRU of 16 units, in half a minute", "I"),
}
