"""From what a user names to a source."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from braceexpand import braceexpand

from throughput.contracts import Progress, Source, no_progress
from throughput.errors import ManifestError, OptionError, SourceError
from throughput.sources.arrays import ARRAY_EXTENSION, open_arrays
from throughput.sources.folder import entries, open_folder
from throughput.sources.manifest import MANIFEST, UNFINISHED, Manifest, read_manifest
from throughput.sources.pipe import PIPE, piped_shard
from throughput.sources.remote.addresses import SCHEMES, is_remote, without_secrets
from throughput.sources.shard_opening import open_packed, open_shards

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_COMMA_OUTSIDE_BRACES = re.compile(r",(?![^{]*\})")


def open_source(
    data: str | Path | Sequence[str | Path],
    *,
    label_field: str | None = None,
    allow_pipe: bool = False,
    labels: str | Path | None = None,
    split_fraction: float | None = None,
    progress: Progress = no_progress,
) -> Source:
    """Open the images that ``data`` names.

    data: a folder of class folders, or of ``train/`` and ``val/`` (or ``test/``) with class folders; a
        folder of ``.tar`` shards, or of ``train/`` and ``val/`` (or ``test/``) with shards; one shard; a
        brace pattern such as ``shards-{0000..0009}.tar``; a list of shards (or a string with commas);
        addresses of shards, or of a folder that ``pack`` wrote, on a server (http, https or s3);
        ``pipe:COMMAND``, whose output is a shard; an array of images, ``.npy``, with its ``labels``.
    label_field: the field of ``.json`` members that holds the label; None: ``.cls`` members, then the
        usual names.
    allow_pipe: run the command of a ``pipe:``, in a shell.
    labels: the array of an array's labels; nothing else takes one.
    split_fraction: the share of each class to hold out by seed, of images that bring no split of their own.
    Raises SourceError saying what to do; OptionError for an option that does not go with the data; RoomError
    where a command's output does not fit.
    """
    try:
        paths = _named(data)
        if any(map(is_remote, paths)):
            from throughput.sources.remote.opening import open_remote

            if labels is not None:
                raise OptionError(f"--labels {labels} goes with an array of images (.npy) on this machine")
            return open_remote(
                data if isinstance(data, str) else _listed(paths),
                paths,
                label_field=label_field,
                split_fraction=split_fraction,
                progress=progress,
            )
        if len(paths) == 1 and paths[0].endswith(ARRAY_EXTENSION) and not Path(paths[0]).is_dir():
            if not Path(paths[0]).exists():
                raise _missing(Path(paths[0]))
            if label_field is not None:
                raise OptionError("--label-field belongs to shards: an array brings its labels by --labels")
            return open_arrays(paths[0], labels, split_fraction, progress)
        if labels is not None:
            raise OptionError(
                f"--labels {labels} goes with an array of images (.npy), and {data} brings its own labels"
            )
        if len(paths) == 1 and Path(paths[0]).is_dir():
            return _open_folder(paths[0], Path(paths[0]), label_field, split_fraction, progress)
        location = data if isinstance(data, str) else _listed(paths)
        shards = [_shard(path, allow_pipe) for path in paths]
        return open_shards(
            location, shards, label_field=label_field, progress=progress, split_fraction=split_fraction
        )
    except OSError as error:
        raise SourceError(f"cannot read {error.filename or data}: {error.strerror}") from error


def _named(data: str | Path | Sequence[str | Path]) -> list[str]:
    """The paths that were named, patterns and lists taken apart."""
    if not isinstance(data, (str, Path)):
        paths = [path for item in data for path in _named_by_one(str(item))]
    elif str(data).startswith(PIPE) or _exists(Path(data).expanduser()):
        paths = _named_by_one(str(data))
    else:
        paths = [
            path for item in _COMMA_OUTSIDE_BRACES.split(str(data)) for path in _named_by_one(item.strip())
        ]
    if not paths or "" in paths:
        raise SourceError("no images were named: give a folder, a .tar shard or a list of shards")
    return paths


def _named_by_one(item: str) -> list[str]:
    if item.startswith(PIPE) or not item:
        return [item]
    item = item.removeprefix("file://")
    remote = is_remote(item)
    if _ADDRESS.match(item) and not remote:
        raise SourceError(
            f"{without_secrets(item)}: images are read from {', '.join(SCHEMES)} and from files on this "
            "machine; copy them to one of these first"
        )
    path = item if remote else str(Path(item).expanduser())
    if "{" not in path or (not remote and _exists(Path(path))):
        return [path]
    try:
        return list(braceexpand(path))
    except ValueError as error:
        raise SourceError(
            without_secrets(f"{item}: the braces of the pattern do not match: {error}")
        ) from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        # A long list of shards is no path.
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def _open_folder(
    location: str, root: Path, label_field: str | None, fraction: float | None, progress: Progress
) -> Source:
    manifest = read_manifest(root / MANIFEST)
    if manifest is not None:
        _require_listed(root, manifest)
        if manifest.splits == "named":
            _require_no_fraction(location, fraction)
        return open_packed(location, root, manifest, progress, fraction)
    _require_finished(root)
    if shards := _tars(root):
        return open_shards(location, shards, None, label_field, progress, fraction)
    if _tars(root / "train"):
        return _open_split_shards(location, root, label_field, fraction, progress)
    top, splits = _class_folders(root)
    if len(splits) > 1:
        _require_no_fraction(location, fraction)
    return open_folder(location, top, splits, progress, fraction)


def _class_folders(root: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder, and the folders in it, train first, in which class folders lie; ``""`` for itself."""
    if not _has_folders(root / "train"):
        return root, ("",)
    held_out = next((name for name in ("val", "test") if _has_folders(root / name)), None)
    return (root / "train", ("",)) if held_out is None else (root, ("train", held_out))


def _require_no_fraction(location: str, fraction: float | None) -> None:
    """Raise OptionError where images that bring their own split are to be split otherwise."""
    if fraction is not None:
        raise OptionError(f"{location} brings its own split, train and held-out: leave --split-fraction out")


@dataclass(frozen=True)
class NamedShards:
    """Tar shards before any is looked into.

    paths: in the order of their ids. manifest: of the folder that was named, if it has one. unlisted: those
    that lie in the folder beside the shards of its manifest. damage: why the manifest cannot be read.
    """

    paths: tuple[str, ...]
    manifest: Manifest | None = None
    unlisted: tuple[str, ...] = ()
    damage: ManifestError | None = None


def named_shards(data: str | Path | Sequence[str | Path], *, allow_pipe: bool = False) -> NamedShards | None:
    """The local shards that ``open_source`` would read, whatever state they are in; None where it is others.

    Raises SourceError as ``open_source`` does for what does not exist.
    """
    paths = _named(data)
    if len(paths) > 1 or not Path(paths[0]).is_dir():
        if any(_ADDRESS.match(path) or path.endswith(ARRAY_EXTENSION) for path in paths):
            return None
        return NamedShards(tuple(_shard(path, allow_pipe) for path in paths))
    root = Path(paths[0])
    damage: ManifestError | None = None
    try:
        manifest = read_manifest(root / MANIFEST)
    except ManifestError as error:
        manifest, damage = None, error
    if manifest is not None:
        listed = tuple(str(root / shard.name) for shard in manifest.shards)
        return NamedShards(listed, manifest, tuple(_beside(root, manifest)))
    _require_finished(root)
    shards = _tars(root)
    if not shards and (shards := _tars(root / "train")):
        shards += next((held_out for name in ("val", "test") if (held_out := _tars(root / name))), [])
    if damage is not None and not shards:
        raise damage
    return NamedShards((*shards,), damage=damage) if shards else None


def named_folder(data: str | Path | Sequence[str | Path]) -> tuple[Path, tuple[str, ...]] | None:
    """Where ``open_folder`` finds the class folders that ``data`` names; None where that is no folder."""
    paths = _named(data)
    return _class_folders(Path(paths[0])) if len(paths) == 1 and Path(paths[0]).is_dir() else None


def _open_split_shards(
    location: str, root: Path, label_field: str | None, fraction: float | None, progress: Progress
) -> Source:
    train = _tars(root / "train")
    held_out = next((shards for name in ("val", "test") if (shards := _tars(root / name))), [])
    validation_from = len(train) if held_out else None
    if held_out:
        _require_no_fraction(location, fraction)
    return open_shards(location, [*train, *held_out], validation_from, label_field, progress, fraction)


def _require_listed(root: Path, manifest: Manifest) -> None:
    """Refuse shards that lie beside packed ones and would be left out without a word."""
    if beside := _beside(root, manifest):
        raise SourceError(f"{beside[0]} is not in the manifest of {root}: move it to a folder of its own")


def _beside(root: Path, manifest: Manifest) -> list[str]:
    """Shards that the manifest of their folder does not name."""
    listed = {str(root / shard.name) for shard in manifest.shards}
    return [path for name in ("", "train", "val") for path in _tars(root / name) if path not in listed]


def _require_finished(root: Path) -> None:
    """Refuse a folder in which shards are still to be written."""
    if read_manifest(root / UNFINISHED) is not None:
        raise SourceError(
            f"the packing in {root} was not finished: run the same throughput pack command again"
        )


def _tars(folder: Path) -> list[str]:
    """Paths of the shards in a folder, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(entry.path for entry in entries(folder) if entry.name.endswith(".tar") and entry.is_file())


def _has_folders(folder: Path) -> bool:
    return folder.is_dir() and any(entry.is_dir() for entry in entries(folder))


def _shard(path: str, allow_pipe: bool) -> str:
    if path.startswith(PIPE):
        return piped_shard(path, allow_pipe)
    if Path(path).is_file() and path.endswith(".tar"):
        return path
    if Path(path).is_dir():
        raise SourceError(f"{path} is a folder: a list may only hold .tar shards; name the folder alone")
    if Path(path).exists():
        raise SourceError(
            f"{path} is neither a folder nor a .tar shard nor an array (.npy): "
            "name a folder of class folders or shards"
        )
    raise _missing(Path(path))


def _missing(path: Path) -> SourceError:
    """Say that a path is missing, and what is there that it may stand for."""
    parent = path.absolute().parent
    if not parent.is_dir():
        return SourceError(f"{path} does not exist, nor does its folder {parent}: check the path")
    near = difflib.get_close_matches(path.name, [entry.name for entry in entries(parent)], n=1)
    advice = f"did you mean {path.with_name(near[0])}?" if near else "check the path"
    return SourceError(f"{path} does not exist: {advice}")


def _listed(paths: list[str]) -> str:
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
