"""What at least two stages would otherwise write twice (no torch, no web, no clients)."""
