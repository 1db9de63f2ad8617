"""Metrics, sizes, times and rates as they are read: `93.50`, `45.1 M`, `268 MB`, `12.0 ms`."""

from __future__ import annotations

POINTS = 100
"""What metrics are multiplied by wherever they are shown, as in GLUE's tables; records hold shares of 1."""


def metric(value: float) -> str:
    """A metric (a share of 1, or a correlation) times 100, with two digits after the point: 0.935 as `93.50`.

    The same text for a value of 32 bits, as curves have them, and for that of 64 bits which it stands for.
    """
    return f"{round(float(value), 7) * POINTS:.2f}"


def difference(value: float) -> str:
    """A difference of metrics times 100, with its sign and two digits after the point: 0.0123 as `+1.23`."""
    return f"{value * POINTS:+.2f}"


def amount(count: float) -> str:
    """A count as `950`, `1.9 M`, `110 M`."""
    return _scaled(count, ("", "k", "M", "G"))


def size(count: float) -> str:
    """Bytes as `512 B`, `7.6 MB`, `1.2 GB` (powers of 1,000)."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB"))


def milliseconds(value: float) -> str:
    """A latency, with a digit after the point below 100 and two below 10."""
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} ms"


def rate(value: float) -> str:
    """A rate per second, without the unit."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while abs(value) >= 999.5 and power < len(units) - 1:
        value /= 1000
        power += 1
    digits = 0 if power == 0 or value >= 99.95 else 1
    return f"{value:.{digits}f} {units[power]}".strip()
