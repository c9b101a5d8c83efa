"""The ready-made comparison: ``pytest --pyargs throughput.ci --throughput-data DIR``."""
