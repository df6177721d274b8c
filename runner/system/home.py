"""A path that begins with `~` to one in a home directory."""

from pathlib import Path


def at_home(path: str) -> str:
    """Return the path with a leading `~` or `~user` replaced by that home directory.

    Any other path is returned as it is, as is one that names a user who does not exist.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return path
