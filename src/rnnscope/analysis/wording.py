"""How numbers are worded in statements and tables."""

import math

ROUNDING = 1e-12  # relative size below which a number beside others is their rounding


def with_error(value: float, error: float) -> str:
    """value ± error, the error with one digit (two where it begins with 1) and the value as far as that; plain where there is none.

    Example:
        >>> with_error(-1.02484, 0.0064), with_error(3e-5, 0.00033), with_error(12.3, 0.123)
        ('-1.025 ± 0.006', '0.0000 ± 0.0003', '12.30 ± 0.12')
    """
    if not (math.isfinite(value) and math.isfinite(error)) or error <= abs(value) * 1e-6 or error == 0:
        return f"{value:.4g}"
    digits = -math.floor(math.log10(error)) + (1 if f"{error:e}"[0] == "1" else 0)
    if digits > 7:
        return f"{value:.3g} ± {error:.1g}"
    places = max(digits, 0)
    return f"{round(value, digits) + 0.0:.{places}f} ± {round(error, digits):.{places}f}"


def listed(values: list[float], scale: float) -> str:
    """Numbers with three digits, separated by commas; what is rounding beside `scale` is 0.

    Example:
        >>> listed([0.5, -1.4e-17, 2.0], 1.0)
        '0.5, 0, 2'
    """
    return ", ".join(f"{0.0 if abs(value) <= ROUNDING * scale else value:.3g}" for value in values)


def capitalised(sentence: str) -> str:
    """With its first letter large.

    Example:
        >>> capitalised("vanishing beyond lag 6")
        'Vanishing beyond lag 6'
    """
    return sentence[:1].upper() + sentence[1:]
