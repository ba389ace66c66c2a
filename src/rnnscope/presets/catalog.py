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
_PATTERNS = "rnnscope.presets.patterns"
_LABELLED = "rnnscope.presets.labelled"
_FRAMES = "rnnscope.presets.frames"
_TEXT = "rnnscope.presets.text"
_SINES = "rnnscope.presets.sinusoids"
_COMPLEXITY = "rnnscope.presets.complexity"
_LONG = "rnnscope.presets.long_range"
_DETECTION = "rnnscope.presets.detection"
_MODELS = "rnnscope.presets.reconstructions"
_ESN = "rnnscope.presets.reservoirs"

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
    "gru-regression": Preset(
        f"{_OSC}:gru_regression", "Regression of a noisy sine by a GRU: one step, many steps, closed loop", "A, B"
    ),
    "gru-regression-quick": Preset(
        f"{_OSC}:gru_regression_quick", "Regression of a noisy sine by a GRU: the same in a quarter of a minute", "A, B"
    ),
    "sine-small": Preset(
        f"{_OSC}:sine_small", "A simple RNN of 16 units on 500 points of a sine, with a validation part", "A9"
    ),
    "driven-oscillator": Preset(
        f"{_ODE}:driven_oscillator", "Driven damped oscillator, dt 0.001: LSTM on windows of levels, as usually done", "A7"
    ),
    "driven-oscillator-reduced": Preset(
        f"{_ODE}:driven_oscillator_reduced", "Driven damped oscillator with dt 0.002 and 5000 points", "A7"
    ),
    "driven-oscillator-best": Preset(
        f"{_ODE}:driven_oscillator_best",
        "The oscillator done well: second differences, forcing as input, several trajectories",
        "A7",
    ),
    "driven-oscillator-euler": Preset(
        f"{_ODE}:driven_oscillator_euler", "The Euler map v' = v + dt(F - 2γv - x), seen as a recurrence", "A7"
    ),
    "one-step": Preset(
        f"{_ODE}:one_step", "One-step model (window 1) of the oscillator, then closed loop over the whole trajectory", "A8"
    ),
    "window-ten": Preset(
        f"{_ODE}:window_ten", "The oscillator from a window of ten values, then closed loop (compare one-step)", "A8"
    ),
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
    "reconstruct": Preset(
        f"{_MODELS}:reconstruct", "A model of the system behind your own recording: --set task.path=orbit.csv", "J"
    ),
    "reconstruct-quick": Preset(
        f"{_MODELS}:reconstruct_quick",
        "A model of the system behind your own recording, in half a minute: --set task.path=…",
        "J",
    ),
    "lorenz-plrnn": Preset(
        f"{_MODELS}:lorenz_plrnn", "Lorenz-63 learnt by a piecewise-linear network with generalised teacher forcing", "J"
    ),
    "lorenz-plrnn-quick": Preset(
        f"{_MODELS}:lorenz_plrnn_quick", "Lorenz-63 by a piecewise-linear network: half a minute", "J"
    ),
    "lorenz-lstm": Preset(f"{_MODELS}:lorenz_lstm", "Lorenz-63 learnt by an LSTM with generalised teacher forcing", "J"),
    "lorenz-lstm-quick": Preset(f"{_MODELS}:lorenz_lstm_quick", "Lorenz-63 by an LSTM: half a minute", "J"),
    "rossler-plrnn": Preset(f"{_MODELS}:rossler_plrnn", "Rössler learnt by a piecewise-linear network", "J"),
    "rossler-plrnn-quick": Preset(
        f"{_MODELS}:rossler_plrnn_quick", "Rössler by a piecewise-linear network: half a minute", "J"
    ),
    "lorenz96-plrnn": Preset(
        f"{_MODELS}:lorenz96_plrnn", "Lorenz-96 with 20 variables learnt by a piecewise-linear network", "J"
    ),
    "lorenz96-plrnn-quick": Preset(
        f"{_MODELS}:lorenz96_plrnn_quick", "Lorenz-96 with 20 variables by a piecewise-linear network: half a minute", "J"
    ),
    "lorenz-esn": Preset(
        f"{_ESN}:lorenz_esn", "Lorenz-63 by echo state networks of 500 and 1000 units, readouts by ridge", "J"
    ),
    "lorenz-esn-quick": Preset(f"{_ESN}:lorenz_esn_quick", "Lorenz-63 by an echo state network of 200 units, in seconds", "J"),
    "lorenz-esn-long": Preset(
        f"{_ESN}:lorenz_esn_long", "Lorenz-63, dt 0.01, 100,000 steps: does an echo state network generate the attractor?", "J"
    ),
    "mackey-glass-esn": Preset(f"{_ESN}:mackey_glass_esn", "Mackey-Glass, τ = 17, by an echo state network of 1000 units", "J"),
    "mackey-glass-esn-quick": Preset(
        f"{_ESN}:mackey_glass_esn_quick", "Mackey-Glass by an echo state network of 200 units, in seconds", "J"
    ),
    "laser-esn": Preset(
        f"{_ESN}:laser_esn", "The Santa Fe laser by an echo state network (its file comes with the package reservoirpy)", "J"
    ),
    "laser-esn-quick": Preset(f"{_ESN}:laser_esn_quick", "The Santa Fe laser by an echo state network of 200 units", "J"),
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
    "frames": Preset(f"{_FRAMES}:frames", "Your own labelled image sequences: --set task.path=frames.npz", "D1, D2"),
    "frames-random": Preset(
        f"{_FRAMES}:frames_random",
        "Images of random pixels with random labels: learned by heart, and chance elsewhere",
        "D1, D2",
    ),
    "frames-random-quick": Preset(
        f"{_FRAMES}:frames_random_quick",
        "Small images of random pixels with random labels: learned by heart, and chance elsewhere",
        "D1, D2",
    ),
    "frames-motion": Preset(
        f"{_FRAMES}:frames_motion",
        "In which of four directions does a shape move? Beside controls that see no motion",
        "D1, D2",
    ),
    "frames-motion-quick": Preset(
        f"{_FRAMES}:frames_motion_quick", "In which direction does a shape move? Small images, in half a minute", "D1, D2"
    ),
    "frames-speed": Preset(
        f"{_FRAMES}:frames_speed", "How fast does a shape move? Beside controls that see no motion", "D1, D2"
    ),
    "frames-speed-quick": Preset(
        f"{_FRAMES}:frames_speed_quick", "How fast does a shape move? Small images, in half a minute", "D1, D2"
    ),
    "complexity": Preset(
        f"{_COMPLEXITY}:complexity",
        "Does a phenomenon emerge? Logistic regression by plain gradient descent, as usually done",
        "E1",
    ),
    "complexity-quick": Preset(
        f"{_COMPLEXITY}:complexity_quick", "Does a phenomenon emerge? Logistic regression after 200 epochs", "E1"
    ),
    "complexity-best": Preset(
        f"{_COMPLEXITY}:complexity_best",
        "Does a phenomenon emerge? Standardised features, beside the optimum by Newton's method",
        "E1",
    ),
    "complexity-best-quick": Preset(f"{_COMPLEXITY}:complexity_best_quick", "Newton's method alone: separation noticed", "E1"),
    "complexity-smooth": Preset(
        f"{_COMPLEXITY}:complexity_smooth", "Emergence across a smooth threshold: what jumps is the metric", "E1"
    ),
    "complexity-smooth-quick": Preset(
        f"{_COMPLEXITY}:complexity_smooth_quick", "Emergence across a smooth threshold, on fewer samples", "E1"
    ),
    "sine-transfer": Preset(f"{_SINES}:transfer", "One sine wave learned, another phase asked for: it does not transfer", "F1"),
    "sine-transfer-quick": Preset(
        f"{_SINES}:transfer_quick", "One sine wave learned in 300 epochs, another phase asked for", "F1"
    ),
    "sine-transfer-best": Preset(
        f"{_SINES}:transfer_best", "Transfer to another phase from a start that was trained for adaptation (MAML)", "F1"
    ),
    "sine-transfer-best-quick": Preset(f"{_SINES}:transfer_best_quick", "Transfer to another phase by MAML, in seconds", "F1"),
    "sine-maml": Preset(f"{_SINES}:maml", "Learning to learn sine waves from ten points: MAML, Finn's protocol", "F2"),
    "sine-maml-quick": Preset(f"{_SINES}:maml_quick", "MAML on sine waves in seconds, one inner step", "F2"),
    "sine-anil": Preset(f"{_SINES}:anil", "MAML on sine waves in which only the last layer adapts", "F2"),
    "sine-anil-quick": Preset(f"{_SINES}:anil_quick", "MAML in which only the last layer adapts, in seconds", "F2"),
    "sine-reptile": Preset(f"{_SINES}:reptile", "Reptile on sine waves: no second derivative", "F2"),
    "sine-reptile-quick": Preset(f"{_SINES}:reptile_quick", "Reptile on sine waves, in seconds", "F2"),
    "sine-in-context": Preset(
        f"{_SINES}:in_context", "An LSTM that learns a sine wave in its state, with no gradient step", "F2"
    ),
    "sine-in-context-quick": Preset(
        f"{_SINES}:in_context_quick", "A small LSTM learns a sine wave in its state, from fewer waves", "F2"
    ),
    "adding": Preset(
        f"{_LONG}:adding", "The adding problem over 100 steps: the sum of two marked numbers, an LSTM beside the constant", "J"
    ),
    "adding-quick": Preset(f"{_LONG}:adding_quick", "The adding problem over 30 steps in seconds", "J"),
    "copy": Preset(f"{_LONG}:copy", "Five symbols to be said again after 50 blanks: an LSTM beside chance", "J"),
    "copy-quick": Preset(f"{_LONG}:copy_quick", "Three symbols to be said again after 10 blanks, in seconds", "J"),
    "memory-delay": Preset(
        f"{_LONG}:memory_delay",
        "Delayed memory: the input of 20 steps ago at every step, an orthogonal start beside the constant",
        "J",
    ),
    "memory-delay-quick": Preset(f"{_LONG}:memory_delay_quick", "The input of 10 steps ago, in seconds", "J"),
    "temporal-order": Preset(
        f"{_LONG}:temporal_order", "In which order did two symbols come, 100 steps with distractors: an LSTM beside chance", "J"
    ),
    "temporal-order-quick": Preset(f"{_LONG}:temporal_order_quick", "The order of two symbols in 30 steps, in seconds", "J"),
    "characters": Preset(f"{_TEXT}:characters", "The string abcabc…: an Elman network of 16 units learns to continue it", "C1"),
    "characters-quick": Preset(f"{_TEXT}:characters_quick", "The string abcabc… in seconds", "C1"),
    "characters-abac": Preset(
        f"{_TEXT}:characters_abac", "abacabac…: what follows an a needs memory; the network as an automaton", "C1"
    ),
    "characters-abac-quick": Preset(
        f"{_TEXT}:characters_abac_quick", "abacabac… in seconds: what follows an a needs memory", "C1"
    ),
    "characters-hello": Preset(f"{_TEXT}:characters_hello", "hello world hello world …: letters in several roles", "C1"),
    "characters-hello-quick": Preset(f"{_TEXT}:characters_hello_quick", "hello world … in seconds", "C1"),
    "text": Preset(f"{_TEXT}:text", "Any text file, with an LSTM of 256 units: --set task.path=book.txt", "C2"),
    "text-quick": Preset(f"{_TEXT}:text_quick", "Text in half a minute: an LSTM of 64 units, 100,000 characters", "C2"),
    "emergence": Preset(
        f"{_DETECTION}:emergence", "1000 random draws, mean ± 3σ: does anything emerge, or is it what chance predicts?", "G1"
    ),
    "emergence-quick": Preset(f"{_DETECTION}:emergence_quick", "300 random draws, mean ± 3σ: does anything emerge?", "G1"),
    "emergence-best": Preset(
        f"{_DETECTION}:emergence_best",
        "Does anything emerge? As it should be asked: a robust scale, false discoveries held to 5 %",
        "G1",
    ),
    "anomalies": Preset(
        f"{_DETECTION}:anomalies", "Planted anomalies in a seasonal series: a GRU's errors beside classical detectors", "G1"
    ),
    "anomalies-quick": Preset(
        f"{_DETECTION}:anomalies_quick", "Five planted anomalies, a GRU trained for ten epochs beside classical detectors", "G1"
    ),
    "labelled": Preset(
        f"{_LABELLED}:labelled", "Your own labelled sequences: --set task.path=TRAIN.ts --set task.test_path=TEST.ts", "B5"
    ),
    "labelled-quick": Preset(
        f"{_LABELLED}:labelled_quick", "Your own labelled sequences, a small network in half a minute: --set task.path=…", "B5"
    ),
    "pattern": Preset(
        f"{_PATTERNS}:pattern", "Does 1 1 0 occur in 20 binary steps? Balanced, tested up to 200 steps", "B1, B2"
    ),
    "pattern-quick": Preset(
        f"{_PATTERNS}:pattern_quick", "Does 1 1 0 occur in 20 binary steps? A small LSTM in seconds", "B1, B2"
    ),
    "pattern-unbalanced": Preset(
        f"{_PATTERNS}:pattern_unbalanced",
        "Does 1 1 0 occur? As usually generated: 98.6 % of the sequences hold the pattern",
        "B1, B2",
    ),
    "pattern-unbalanced-quick": Preset(
        f"{_PATTERNS}:pattern_unbalanced_quick",
        "The unbalanced pattern task in seconds: it ends at the majority class",
        "B1, B2",
    ),
    "pattern-unbalanced-best": Preset(
        f"{_PATTERNS}:pattern_unbalanced_best",
        "The unbalanced generator with weighted classes and ten times the sequences",
        "B1, B4",
    ),
    "trigger-action": Preset(
        f"{_PATTERNS}:trigger_action",
        "Does an action follow a trigger in time? Five kinds of decoys, bidirectional LSTM",
        "B3, B4",
    ),
    "trigger-action-quick": Preset(
        f"{_PATTERNS}:trigger_action_quick", "Trigger and action with decoys: one small bidirectional layer", "B3"
    ),
    "trigger-action-reading": Preset(
        f"{_PATTERNS}:trigger_action_reading",
        "Events early in 120 steps: both final states of a bidirectional LSTM against outputs[:, -1], which misses them",
        "B3",
    ),
    "trigger-action-reading-quick": Preset(
        f"{_PATTERNS}:trigger_action_reading_quick",
        "The same two readings in half a minute: events early in 80 steps",
        "B3",
    ),
    "trigger-action-easy": Preset(
        f"{_PATTERNS}:trigger_action_easy", "The original without decoys: any value above 0.5 gives it away", "B3"
    ),
    "trigger-action-easy-quick": Preset(
        f"{_PATTERNS}:trigger_action_easy_quick", "Trigger and action without decoys: one small bidirectional layer", "B3"
    ),
}

# builders return several experiments, which are carried out into one folder with one page
STUDIES: dict[str, Preset] = {
    "four-ways": Preset(
        f"{_LONG}:four_ways",
        "Gated cells, Hessian-free, echo state, good starts with momentum: four long-range tasks, one table",
        "J",
    ),
    "four-ways-quick": Preset(f"{_LONG}:four_ways_quick", "The four ways of training on short tasks, in a minute", "J"),
}
