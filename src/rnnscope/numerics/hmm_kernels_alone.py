"""One long sequence, its states side by side in vectors; and the slow exact passes in logs (numba).

Arrays of S states are padded to a multiple of WIDTH. `codes` name rows of `table` (columns, padded); where `codes` is empty,
`values` (T·S) are log densities instead.
"""

import numpy as np

from rnnscope.numerics.hmm_kernels_lanes import (
    WIDTH,
    above,
    add,
    exponential,
    fma,
    inner,
    kernel,
    load,
    mul,
    pick,
    put,
    splat,
    store,
    take,
)


@inner
def _weights(codes, table, values, t, states, row):
    """The (log) emission weights of one step into `row`."""
    if codes.shape[0] > 0:
        padded = row.shape[0]
        at = min(np.intp(take(codes, t)), table.shape[0] // padded - 1) * padded
        for c in range(0, padded, WIDTH):
            store(row, c, load(table, at + c))
    else:
        for j in range(states):
            put(row, j, take(values, t * states + j))


@kernel
def viterbi_alone(codes, table, values, prior, matrix, row, score, sources, out):
    """The best path of one sequence; all numbers are logs and paddings -inf. Returns its log probability.

    prior: (padded,), matrix: (S·padded,), row, score: room (padded,), sources: (T·padded,), out: (T,).
    """
    steps, padded = out.shape[0], prior.shape[0]
    states = matrix.shape[0] // padded
    for t in range(steps):
        _weights(codes, table, values, t, states, row)
        if t == 0:
            for c in range(0, padded, WIDTH):
                store(score, c, add(load(prior, c), load(row, c)))
            continue
        for c in range(padded - WIDTH, -1, -WIDTH):
            best, source = add(splat(take(score, 0)), load(matrix, c)), splat(sources.dtype.type(0))
            for i in range(1, states):
                other = add(splat(take(score, i)), load(matrix, i * padded + c))
                better = above(other, best)
                best, source = pick(better, other, best), pick(better, splat(sources.dtype.type(i)), source)
            store(row, c, add(best, load(row, c)))
            store(sources, t * padded + c, source)
        for c in range(0, padded, WIDTH):
            store(score, c, load(row, c))
    state = 0 * steps
    for j in range(1, states):
        if score[j] > score[state]:
            state = j
    total = score[state]
    for t in range(steps - 1, -1, -1):
        put(out, t, out.dtype.type(state))
        if t > 0:
            state = take(sources, t * padded + state)
    return total


@kernel
def forward_alone(codes, table, values, prior, matrix, every, reverse, bounds, row, state, new, marks):
    """State vectors of one sequence at the ends of chunks; returns the log of the last one's sum before scaling.

    new_j = weight_j Σ_i state_i matrix_ij from `prior`, over steps 0..T-1, or T-1..0 if `reverse`; marks (C, padded) gets
    the state of the last step of each chunk, or of the first if `reverse`, up to a factor; chunk c ends before bounds[c + 1].
    """
    padded = prior.shape[0]
    states = matrix.shape[0] // padded
    steps = codes.shape[0] if codes.shape[0] > 0 else values.shape[0] // states
    total, chunk = 0.0, marks.shape[0] - 1 if reverse else 0
    for u in range(steps):
        t = steps - 1 - u if reverse else u
        _weights(codes, table, values, t, states, row)
        if codes.shape[0] == 0:
            largest = row[0]
            for j in range(1, states):
                largest = max(largest, row[j])
            largest = largest if largest > -1e300 else 0.0
            total += largest
            for j in range(states):
                row[j] -= largest
            for c in range(0, padded, WIDTH):
                store(row, c, exponential(load(row, c)))
        if u == 0:
            for c in range(0, padded, WIDTH):
                store(state, c, mul(load(prior, c), load(row, c)))
        else:
            for c in range(0, padded, WIDTH):
                a = mul(splat(take(state, 0)), load(matrix, c))
                b = mul(splat(take(state, states - 1)), load(matrix, (states - 1) * padded + c))
                for i in range(1, states - 2, 2):
                    a = fma(splat(take(state, i)), load(matrix, i * padded + c), a)
                    b = fma(splat(take(state, i + 1)), load(matrix, (i + 1) * padded + c), b)
                if states % 2 and states > 1:
                    a = fma(splat(take(state, states - 2)), load(matrix, (states - 2) * padded + c), a)
                store(new, c, mul(add(a, b), load(row, c)))
            for c in range(0, padded, WIDTH):
                store(state, c, load(new, c))
        if u % every == 0 or u == steps - 1:
            size = 0.0
            for j in range(states):
                size += state[j]
            if not size > 0:
                return -np.inf
            total += np.log(size)
            for j in range(states):
                state[j] /= size
        if t == (bounds[chunk] if reverse else bounds[chunk + 1] - 1):
            for j in range(padded):
                marks[chunk, j] = state[j]
            chunk = max(chunk - 1, 0) if reverse else min(chunk + 1, marks.shape[0] - 1)
    return total


@kernel
def join_chunks(products, logs, state, before, betas):
    """States at the ends of chunks from their products; returns the log likelihood, -inf if it is or looks impossible.

    products: (S, C, S), row i for a chunk begun in state i, up to factors whose logs are `logs` (S, C).
    state: (S,) before the first chunk, used up. before: (C, S) out. betas: (C, S) in and out, the last one given; or empty.
    """
    states, chunks = logs.shape
    total = 0.0
    for c in range(chunks):
        largest = -np.inf
        for i in range(states):
            largest = max(largest, logs[i, c])
        size = 0.0
        for j in range(states):
            before[c, j] = 0
            for i in range(states):
                before[c, j] += state[i] * np.exp(logs[i, c] - largest) * products[i, c, j]
            size += before[c, j]
        if not (size > 0 and largest < np.inf):
            return -np.inf
        total += largest + np.log(size)
        for j in range(states):
            before[c, j] /= size
            state[j] = before[c, j]
    for c in range(betas.shape[0] - 1, 0, -1):
        _beta_before(products, logs, c, betas)
    return total


@inner
def _beta_before(products, logs, c, betas):
    """The beta after chunk c - 1 from the one after chunk c."""
    states = logs.shape[0]
    largest, size = -np.inf, 0.0
    for i in range(states):
        betas[c - 1, i] = 0
        for j in range(states):
            betas[c - 1, i] += products[i, c, j] * betas[c, j]
        if betas[c - 1, i] > 0:
            largest = max(largest, logs[i, c])
    for i in range(states):
        if betas[c - 1, i] > 0:
            betas[c - 1, i] *= np.exp(logs[i, c] - largest)
        size = max(size, betas[c - 1, i])
    for i in range(states):
        betas[c - 1, i] /= size


@inner
def _log_sum(terms):
    largest = terms[0]
    for j in range(1, terms.shape[0]):
        largest = max(largest, terms[j])
    if largest == -np.inf:
        return largest
    total = 0.0
    for j in range(terms.shape[0]):
        total += np.exp(terms[j] - largest)
    return largest + np.log(total)


@kernel
def exact_passes(densities, log_prior, log_matrix, terms, log_alpha, log_beta):
    """Forward and backward in logs, (T, S) each: slow, and right where scaled numbers underflow."""
    steps, states = densities.shape
    for j in range(states):
        log_alpha[0, j] = log_prior[j] + densities[0, j]
        log_beta[steps - 1, j] = 0.0
    for t in range(1, steps):
        for j in range(states):
            for i in range(states):
                terms[i] = log_alpha[t - 1, i] + log_matrix[i, j]
            log_alpha[t, j] = _log_sum(terms) + densities[t, j]
    for t in range(steps - 2, -1, -1):
        for i in range(states):
            for j in range(states):
                terms[j] = log_matrix[i, j] + densities[t + 1, j] + log_beta[t + 1, j]
            log_beta[t, i] = _log_sum(terms)
