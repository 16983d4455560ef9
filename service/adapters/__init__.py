"""Adapters named after the technology: how the ports meet SQLite, Redis, ONNX Runtime and FAISS."""
