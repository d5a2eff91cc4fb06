"""Money is an integer of nano-dollars (1e-9 USD): $0.05 per million tokens is 50 per token, without rounding."""

from decimal import Decimal

NANO = 1_000_000_000


def nano_from_dollars(amount: Decimal) -> int:
    """Nano-dollars in `amount`, rounded half to even below one nano-dollar."""
    return int((amount * NANO).to_integral_value())


def dollars(nano: int) -> Decimal:
    """Exact dollars of an amount of nano-dollars."""
    return Decimal(nano) / NANO


def token_cost(tokens: int, nano_per_million: int) -> int:
    """Nano-dollars for `tokens` at a price per million, rounded up: a hold must never be less than the charge."""
    return -(-tokens * nano_per_million // 1_000_000)


def exact_dollars(nano: int) -> str:
    """An amount that somebody chose, such as a limit or a price, to its last digit."""
    if nano == 0:
        return "$0"
    whole, _point, part = f"{dollars(nano):,.9f}".partition(".")
    return f"${whole}.{part.rstrip('0'):0<2}"


def display_dollars(nano: int) -> str:
    """An amount for reading: cents from a dollar up, more digits below so that a small cost never reads as zero."""
    amount = dollars(nano)
    if nano == 0:
        return "$0"
    if abs(amount) >= 1:
        return f"${amount:,.2f}"
    if abs(amount) >= Decimal("0.0001"):
        cents, further = f"{amount:.2f}", f"{amount:.4f}".rstrip("0")
        return f"${max(cents, further, key=len)}"
    return "<$0.0001"
