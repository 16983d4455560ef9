"""Held out: by hash of the id, so that every stage and every run agrees."""

from contract.held_out import hold_out


def test_the_held_out_share_is_stable_and_about_right() -> None:
    """A tenth of many unless told otherwise, the same ones every time."""
    held = [hold_out(str(n)) for n in range(2000)]
    assert held == [hold_out(str(n), 0.1) for n in range(2000)]
    assert 150 < sum(held) < 250
    assert [hold_out(name) for name in ("N10", "N11", "N12")] == [False, False, False]


def test_a_larger_share_holds_the_smaller_one() -> None:
    """Who is held out at a tenth is held out at a half, too."""
    assert all(hold_out(str(n), 0.5) for n in range(500) if hold_out(str(n)))
    assert not any(hold_out(str(n), 0) for n in range(500))
    assert all(hold_out(str(n), 1) for n in range(500))
