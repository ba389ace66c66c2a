"""Sampling chains: 64 interleaved generators, one multiplication and one comparison per draw (numba).

xoshiro256+ (Blackman & Vigna 2018), one a lane; alias tables (Walker 1977; Vose 1991), uniforms of 53 bits.
"""

import numpy as np

from rnnscope.numerics.hmm_kernels_lanes import LANES, inner, kernel, put, take


@inner
def _fill(generator, uniforms):
    """Uniform numbers in [0, 1) from LANES generators in turn; generator: (4·LANES,) uint64."""
    for k in range(0, uniforms.shape[0], LANES):
        for lane in range(LANES):
            a, b = take(generator, lane), take(generator, LANES + lane)
            c, d = take(generator, 2 * LANES + lane), take(generator, 3 * LANES + lane)
            put(uniforms, k + lane, np.float64((a + d) >> np.uint64(11)) * (1.0 / 9007199254740992.0))
            shifted = b << np.uint64(17)
            c ^= a
            d ^= b
            put(generator, LANES + lane, b ^ c)
            put(generator, lane, a ^ d)
            put(generator, 2 * LANES + lane, c ^ shifted)
            put(generator, 3 * LANES + lane, (d << np.uint64(45)) | (d >> np.uint64(19)))


@inner
def _draw(uniform, row, count, thresholds, choices):
    scaled = uniform * count
    k = np.intp(scaled)
    at = row * count + k
    # an address, not a branch: the comparison would be guessed wrong every other time
    return np.intp(take(choices, 2 * at + np.intp(scaled - k >= take(thresholds, at))))


@kernel
def alias_tables(probs, thresholds, choices, small, large):
    """Vose's tables of each row of `probs` (R, n): the first choice of a cell below its threshold, else the second.

    thresholds: (R, n), choices: (R, n, 2), small, large: room (n,).
    """
    rows, count = probs.shape
    for r in range(rows):
        num_small, num_large = 0 * rows, 0 * rows
        total = 0.0
        for k in range(count):
            total += probs[r, k]
        for k in range(count):
            thresholds[r, k] = probs[r, k] / total * count
            choices[r, k, 0], choices[r, k, 1] = k, k
            if thresholds[r, k] < 1:
                small[num_small] = k
                num_small += 1
            else:
                large[num_large] = k
                num_large += 1
        while num_small > 0 and num_large > 0:
            num_small -= 1
            k, donor = small[num_small], large[num_large - 1]
            choices[r, k, 1] = donor
            thresholds[r, donor] -= 1 - thresholds[r, k]
            if thresholds[r, donor] < 1:
                num_large -= 1
                small[num_small] = donor
                num_small += 1
        # what is left is 1 up to rounding, except that an impossible outcome stays so
        likely = 0 * rows
        for k in range(1, count):
            likely = k if probs[r, k] > probs[r, likely] else likely
        for n in range(num_small):
            if probs[r, small[n]] > 0:
                thresholds[r, small[n]] = 1
            else:
                choices[r, small[n], 1] = likely
        for n in range(num_large):
            thresholds[r, large[n]] = 1


@kernel
def sample_chains(
    num_sequences, num_steps, initial, initial_choices, transition, transition_choices, emission, emission_choices,
    generator, uniforms, current, states, symbols,
):  # fmt: skip
    """Chains of states and one symbol a state; tables flat, current: (LANES,), outputs flat (N·T,)."""
    count, columns = initial.shape[0], emission.shape[0] // initial.shape[0]
    for first in range(0, num_sequences, LANES):
        width = min(LANES, num_sequences - first)
        chunk = uniforms.shape[0] // (2 * width)
        for begin in range(0, num_steps, chunk):
            end = min(begin + chunk, num_steps)
            needed = 2 * width * (end - begin)
            _fill(generator, uniforms[: (needed + LANES - 1) // LANES * LANES])
            for t in range(begin, end):
                at = 2 * width * (t - begin)
                for lane in range(width):
                    u = take(uniforms, at + lane)
                    if t == 0:
                        state = _draw(u, 0 * width, count, initial, initial_choices)
                    else:
                        state = _draw(u, take(current, lane), count, transition, transition_choices)
                    put(current, lane, state)
                    place = (first + lane) * num_steps + t
                    put(states, place, states.dtype.type(state))
                    k = _draw(take(uniforms, at + width + lane), state, columns, emission, emission_choices)
                    put(symbols, place, symbols.dtype.type(k))
