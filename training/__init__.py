"""Distil a small news encoder from a pretrained one on a publisher's own click log."""
