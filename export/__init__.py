"""Checkpoint to verified bundle: graphs, quantisation, parity gate, package."""
