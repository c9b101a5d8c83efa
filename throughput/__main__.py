"""``python -m throughput`` is the ``throughput`` command."""

from throughput.cli import main

if __name__ == "__main__":
    main()
