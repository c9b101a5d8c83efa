"""Environment variables that change what is done."""

from __future__ import annotations

from throughput.reference.markdown import Section, code, prose, table

VARIABLES = {
    "THROUGHPUT_CACHE": "Folder of what is kept: made photos, packed copies, certificates. "
    "[default: `throughput` in that of XDG_CACHE_HOME]",
    "THROUGHPUT_REMOTE_CACHE": "What shards on a server may take of that folder's disk; as `--remote-cache`. "
    "[default: 20GB]",
    "THROUGHPUT_NETWORK_LIMIT": "What the network gives at best, such as 20MB/s; as `--network-limit`. "
    "[default: measured once]",
    "XDG_CACHE_HOME": "Folder of all programs' caches. [default: `~/.cache`]",
    "TMPDIR": "Where temporary files lie. Each measuring process has a folder of its own there, `train` one "
    "for sockets; they are in `/tmp` where the name is too long for sockets: above 59 characters.",
    "TORCHINDUCTOR_CACHE_DIR": "What `--compile` keeps for the next run. "
    "[default: a folder within THROUGHPUT_CACHE]",
    "CXX": "The C++ compiler with which `--compile` works on a CPU. [default: `g++`]",
    "CUBLAS_WORKSPACE_CONFIG": "Of cuBLAS, with `--deterministic`. [default: `:4096:8`]",
    "PYTHONPATH": "Where Python imports from, in measuring processes as in the command itself.",
}
"""Those that the code reads, or sets only where they are not set."""


def environment_section() -> Section:
    """A table of them."""
    rows = []
    for name, words in VARIABLES.items():
        about, _, default = words.partition(" [default: ")
        rows.append((code(name), prose(default.removesuffix("]")), prose(about)))
    return Section(2, "Environment variables", table(("name", "default", "what it does"), rows))
