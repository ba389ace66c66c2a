"""Compiled passes of piecewise-linear networks on the CPU (numba, cached on disk).

With z̃_t the state whose first N components are forced, z̃ = w_t x_t + (1 - w_t) z_{t-1} there and z_{t-1} elsewhere, and e_t the
further inputs,

    v_t = W2 z̃_t + h2        z_t = A∘z̃_t + W1 r(v_t) + h1 + C e_t

    r = relu(v)                         shallow          (form 0)
    r = relu(v) - relu(v - h2)          clipped          (form 1)
    r = v, of the last units relu(v)    almost linear    (form 2; v = z̃)

Backward, with g_t = dL/dz_t from outside and from the step after it:

    d_t = (W1ᵀ g_t)∘r'(v_t)             dL/dz̃_t = A∘g_t + W2ᵀ d_t
    dL/dz_{t-1} = (1 - w_t) dL/dz̃_t, and dL/dx_t = w_t dL/dz̃_t, on the first N components; dL/dz̃_t on the others

    dL/dA = Σ g_t∘z̃_t    dL/dW1 = Σ g_t r_tᵀ    dL/dW2 = Σ d_t z̃_tᵀ    dL/dh1 = Σ g_t    dL/dh2 = Σ d_t    dL/dC = Σ g_t e_tᵀ

(clipped: dL/dh2 counts the first relu alone). The sums over outer products are left to a matrix product outside.

Both weights lie as (M, L), and are padded with zeros: M to a multiple of 4, so that four rows are gone through at once with their
sums in registers, and L to a multiple of `LANES`, so that no loop over units has a remainder. Loops are written out, since views
and calls within a step would cost as much as its arithmetic.

Axis names: B sequences, T steps, M state, L units, N observed components, X inputs.
"""

import numba
import numpy as np

ROWS, LANES = 4, 32
FAST = {"contract", "reassoc", "nsz"}


@numba.njit(cache=True)
def pad_weights(form, decay, out, into, shift, bias, by_input):  # as described above; W2 comes as (L, M)
    size = -(-decay.shape[0] // ROWS) * ROWS
    units = size if form == 2 else -(-out.shape[1] // LANES) * LANES
    wide_decay, wide_shift = np.zeros(size, decay.dtype), np.zeros(size, decay.dtype)
    wide_out, wide_into, wide_bias = (
        np.zeros((size, units), decay.dtype),
        np.zeros((size, units), decay.dtype),
        np.zeros(units, decay.dtype),
    )
    wide_by_input = np.zeros((size, by_input.shape[1]), decay.dtype)
    for m in range(decay.shape[0]):
        wide_decay[m], wide_shift[m] = decay[m], shift[m]
        for k in range(out.shape[1]):
            wide_out[m, k] = out[m, k]
        for k in range(into.shape[0]):
            wide_into[m, k] = into[k, m]
        for k in range(by_input.shape[1]):
            wide_by_input[m, k] = by_input[m, k]
    for k in range(into.shape[0]):
        wide_bias[k] = bias[k]
    return wide_decay, wide_out, wide_into, wide_shift, wide_bias, wide_by_input


@numba.njit(cache=True, fastmath=FAST, error_model="numpy")
def _advance_small(decay, out, into, shift, bias, own, v, r, state):  # shallow with M <= 4: v and r(v) stay in registers
    zero = decay.dtype.type(0)
    x0, x1, x2, x3 = own[0], own[1], own[2], own[3]
    s0, s1, s2, s3 = zero, zero, zero, zero
    for k in range(v.shape[0]):
        value = bias[k] + x0 * into[0, k] + x1 * into[1, k] + x2 * into[2, k] + x3 * into[3, k]
        v[k] = value
        value = zero if value <= zero else value  # a comparison with NaN is false, so that NaN stays
        r[k] = value
        s0 += out[0, k] * value
        s1 += out[1, k] * value
        s2 += out[2, k] * value
        s3 += out[3, k] * value
    state[0] = decay[0] * x0 + shift[0] + s0
    state[1] = decay[1] * x1 + shift[1] + s1
    state[2] = decay[2] * x2 + shift[2] + s2
    state[3] = decay[3] * x3 + shift[3] + s3


@numba.njit(cache=True, fastmath=FAST, error_model="numpy")
def _advance(form, linear, decay, out, into, shift, bias, own, v, r, state):  # v, r(v) and the next state but for C e
    zero = decay.dtype.type(0)
    units = v.shape[0]
    if form == 2:
        for k in range(units):
            v[k] = own[k]
            r[k] = zero if k >= linear and v[k] <= zero else v[k]
    else:
        for k in range(units):
            v[k] = bias[k]
        for m in range(0, decay.shape[0], 4):
            x0, x1, x2, x3 = own[m], own[m + 1], own[m + 2], own[m + 3]
            for k in range(units):
                v[k] += x0 * into[m, k] + x1 * into[m + 1, k] + x2 * into[m + 2, k] + x3 * into[m + 3, k]
        for k in range(units):
            r[k] = zero if v[k] <= zero else v[k]
        if form == 1:
            for k in range(units):
                without = v[k] - bias[k]
                r[k] -= zero if without <= zero else without
    for m in range(0, decay.shape[0], 4):
        s0, s1, s2, s3 = zero, zero, zero, zero
        for k in range(units):
            s0 += out[m, k] * r[k]
            s1 += out[m + 1, k] * r[k]
            s2 += out[m + 2, k] * r[k]
            s3 += out[m + 3, k] * r[k]
        state[m] = decay[m] * own[m] + shift[m] + s0
        state[m + 1] = decay[m + 1] * own[m + 1] + shift[m + 1] + s1
        state[m + 2] = decay[m + 2] * own[m + 2] + shift[m + 2] + s2
        state[m + 3] = decay[m + 3] * own[m + 3] + shift[m + 3] + s3


@numba.njit(cache=True, fastmath=FAST, error_model="numpy")
def forced_forward(
    form, linear, decay, out, into, shift, bias, by_input, inputs, weights, start, forced, values, rectified, outputs, final
):
    further, seen = by_input.shape[1], final.shape[1]
    observed = inputs.shape[2] - further
    size = decay.shape[0]
    one = inputs.dtype.type(1)
    state = np.zeros(size, decay.dtype)
    for b in range(inputs.shape[0]):
        state[:] = 0  # also what only fills the last four rows: it would carry a NaN from one sequence to the next
        for m in range(seen):
            state[m] = start[b, m]
        for t in range(inputs.shape[1]):
            w, own = weights[t], forced[b, t]
            for m in range(size):
                own[m] = state[m]
            for m in range(observed):  # a forced value is the true one even where the state is not finite
                own[m] = inputs[b, t, m] if w == one else w * inputs[b, t, m] + (one - w) * state[m]
            if form == 0 and size == 4:
                _advance_small(decay, out, into, shift, bias, own, values[b, t], rectified[b, t], state)
            else:
                _advance(form, linear, decay, out, into, shift, bias, own, values[b, t], rectified[b, t], state)
            for k in range(further):
                for m in range(size):
                    state[m] += by_input[m, k] * inputs[b, t, observed + k]
            for m in range(observed):
                outputs[b, t, m] = state[m]
        for m in range(seen):
            final[b, m] = state[m]


@numba.njit(cache=True, fastmath=FAST, error_model="numpy")
def forced_backward(
    form,
    linear,
    decay,
    out,
    into,
    bias,
    by_input,
    inputs,
    weights,
    values,
    by_outputs,  # dL/dy_t from outside, (B, T, N)
    by_final,  # dL/dz_T from outside, (B, M) or (0, 0) where there is none
    by_states,  # g_t, (B, T, M)
    by_values,  # d_t, (B, T, L)
    of_bias,
    of_inputs,
    of_start,
):
    size, units, further = decay.shape[0], out.shape[1], by_input.shape[1]
    observed = inputs.shape[2] - further
    zero, one = decay.dtype.type(0), decay.dtype.type(1)
    later = np.empty(size, decay.dtype)
    for b in range(inputs.shape[0]):
        later[:] = zero
        for m in range(by_final.shape[1]):
            later[m] = by_final[b, m]
        for t in range(inputs.shape[1] - 1, -1, -1):
            g, d, v, w = by_states[b, t], by_values[b, t], values[b, t], weights[t]
            for m in range(size):
                g[m] = later[m] + by_outputs[b, t, m] if m < observed else later[m]
            for m in range(0, size, 4):
                g0, g1, g2, g3 = g[m], g[m + 1], g[m + 2], g[m + 3]
                for k in range(units):
                    so_far = zero if m == 0 else d[k]
                    d[k] = so_far + g0 * out[m, k] + g1 * out[m + 1, k] + g2 * out[m + 2, k] + g3 * out[m + 3, k]
            if form == 0:
                for k in range(units):
                    d[k] = d[k] if v[k] > zero else zero
                    of_bias[k] += d[k]
            elif form == 1:
                for k in range(units):
                    first = d[k] if v[k] > zero else zero
                    of_bias[k] += first
                    d[k] = first - (d[k] if v[k] - bias[k] > zero else zero)
            else:
                for k in range(linear, units):
                    d[k] = d[k] if v[k] > zero else zero
            if form == 2:
                for m in range(size):
                    later[m] = decay[m] * g[m] + d[m]
            else:
                for m in range(0, size, 4):
                    s0, s1, s2, s3 = zero, zero, zero, zero
                    for k in range(units):
                        s0 += into[m, k] * d[k]
                        s1 += into[m + 1, k] * d[k]
                        s2 += into[m + 2, k] * d[k]
                        s3 += into[m + 3, k] * d[k]
                    later[m] = decay[m] * g[m] + s0
                    later[m + 1] = decay[m + 1] * g[m + 1] + s1
                    later[m + 2] = decay[m + 2] * g[m + 2] + s2
                    later[m + 3] = decay[m + 3] * g[m + 3] + s3
            for m in range(observed):
                of_inputs[b, t, m] = w * later[m]
                later[m] *= one - w
            for k in range(further):
                total = zero
                for m in range(size):
                    total += by_input[m, k] * g[m]
                of_inputs[b, t, observed + k] = total
        for m in range(of_start.shape[1]):
            of_start[b, m] = later[m]


@numba.njit(cache=True, fastmath=FAST, error_model="numpy")
def run_free(
    form, linear, decay, out, into, shift, bias, by_input, start, fed, plain, carry, from_output, from_exogenous, known, outputs
):  # states in `start` and inputs in `fed` are advanced in place
    size, width, observed = decay.shape[0], fed.shape[1], outputs.shape[2]
    value, rectified = np.empty(out.shape[1], decay.dtype), np.empty(out.shape[1], decay.dtype)
    input, own = np.empty(width, decay.dtype), np.empty(size, decay.dtype)
    for b in range(start.shape[0]):
        state = start[b]
        for t in range(known.shape[1]):
            if plain:  # x' = (y, e)
                for i in range(observed):
                    input[i] = state[i]
                for i in range(width - observed):
                    input[observed + i] = known[b, t, i]
            else:
                for i in range(width):
                    total = decay.dtype.type(0)
                    for j in range(width):
                        total += carry[i, j] * fed[b, j]
                    for j in range(observed):
                        total += from_output[i, j] * state[j]
                    for j in range(known.shape[2]):
                        total += from_exogenous[i, j] * known[b, t, j]
                    input[i] = total
            for i in range(width):
                fed[b, i] = input[i]
            for m in range(size):
                own[m] = input[m] if m < observed else state[m]
            if form == 0 and size == 4:
                _advance_small(decay, out, into, shift, bias, own, value, rectified, state)
            else:
                _advance(form, linear, decay, out, into, shift, bias, own, value, rectified, state)
            for m in range(size):
                for k in range(width - observed):
                    state[m] += by_input[m, k] * input[observed + k]
            for m in range(observed):
                outputs[b, t, m] = state[m]
