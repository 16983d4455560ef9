"""Claims of speed, measured: each benchmark asserts the answers, then writes a result file."""
