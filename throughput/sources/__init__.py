"""Which images exist: a folder of class folders, tar shards, arrays, or photos made for the purpose."""

from throughput.sources.arrays import ArraySource
from throughput.sources.folder import FolderSource
from throughput.sources.opening import open_source
from throughput.sources.shards import ShardSource

__all__ = ["ArraySource", "FolderSource", "ShardSource", "open_source"]
