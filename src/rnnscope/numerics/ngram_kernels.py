"""Compiled loops of `numerics.ngrams`: counting sorts, and the walk along a text (numba, cached on disk)."""

import numba
import numpy as np


@numba.njit(cache=True)
def sort_pairs(before, symbols, first, num_contexts, num_symbols):  # places sorted by (context, symbol): two counting sorts
    places = np.arange(first, len(symbols)).astype(np.int32)
    for key, size in ((symbols, num_symbols), (before, num_contexts)):
        offsets = np.zeros(size + 1, np.int64)
        for place in places:
            offsets[key[place] + 1] += 1
        for k in range(size):
            offsets[k + 1] += offsets[k]
        placed = np.empty_like(places)
        for place in places:
            placed[offsets[key[place]]] = place
            offsets[key[place]] += 1
        places = placed
    return places


@numba.njit(cache=True)
def distinct(before, symbols, order):
    number = np.zeros(len(symbols), np.int64)
    firsts = np.empty(len(order), np.int64)
    counts = np.zeros(len(order), np.int64)
    found = -1
    for i in range(len(order)):
        place = order[i]
        if i == 0 or before[place] != before[order[i - 1]] or symbols[place] != symbols[order[i - 1]]:
            found += 1
            firsts[found] = place
        counts[found] += 1
        number[place] = found
    return firsts[: found + 1].copy(), counts[: found + 1].copy(), number


@numba.njit(cache=True)
def _find(symbols, low, high, wanted):  # row of a symbol among sorted ones, or -1
    while low < high:
        middle = (low + high) // 2
        if symbols[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(cache=True)
def predict_along(
    text, first, num_symbols, order, starts, symbols, raw, raw_rest, cont, cont_rest, starts_at, grams_at
):  # the levels' arrays one after another
    count = len(text) - first
    p = np.empty((order, count))
    best = np.empty((order, count), np.int64)
    known = np.full(order + 1, -1, np.int64)  # known[n]: number of the n-gram that ends before the present place
    known[0] = 0
    lower, mixed = np.empty(num_symbols), np.empty(num_symbols)
    for t in range(len(text)):
        if t >= first:
            lower[:] = 1.0 / num_symbols
            for n in range(1, order + 1):
                context = known[n - 1]
                mixed[:] = lower
                if context >= 0:
                    low, high = starts[starts_at[n - 1] + context], starts[starts_at[n - 1] + context + 1]
                    rests = starts_at[n - 1] - (n - 1) + context  # a level has one context less than starts
                    mixed *= raw_rest[rests]
                    lower *= cont_rest[rests]
                    for row in range(low, high):
                        mixed[symbols[grams_at[n - 1] + row]] += raw[grams_at[n - 1] + row]
                        lower[symbols[grams_at[n - 1] + row]] += cont[grams_at[n - 1] + row]
                p[n - 1, t - first] = mixed[text[t]]
                best[n - 1, t - first] = mixed.argmax()
        for n in range(order, 0, -1):
            context = known[n - 1]
            known[n] = -1
            if context >= 0:
                low, high = starts[starts_at[n - 1] + context], starts[starts_at[n - 1] + context + 1]
                row = _find(symbols, grams_at[n - 1] + low, grams_at[n - 1] + high, text[t])
                if row < grams_at[n - 1] + high and symbols[row] == text[t]:
                    known[n] = row - grams_at[n - 1]
    return p, best
