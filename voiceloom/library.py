"""The voices that a user has made: one small file each, in one folder, known by their names.

The folder is `$VOICELOOM_VOICES`, else `voiceloom/voices` in the user's data folder. A file is what
`Voice.save` writes, so a voice is given away by copying it and taken in by `add`.
"""

import os
import re
from pathlib import Path

from voiceloom.voice import Voice, VoiceError

CONSENT = "A voice belongs to a person: clone nobody without their consent."

_NAME = re.compile(r"[A-Za-z0-9][\w-]*")


def check_name(name: str) -> None:
    """Raises VoiceError where it cannot name a voice: files are called by it."""
    if not _NAME.fullmatch(name):
        raise VoiceError(
            f"{name!r} cannot name a voice: use letters, digits, _ and -, such as anna_2"
        )


class Library:
    """Voices in a folder."""

    def __init__(self, folder: str | os.PathLike | None = None):
        """Opens a folder, which need not exist yet; None for the user's own."""
        self.folder = Path(folder or os.environ.get("VOICELOOM_VOICES") or _home())

    @property
    def names(self) -> list[str]:
        """Of all voices, in order."""
        return sorted(path.stem for path in self.folder.glob("*.safetensors"))

    def __contains__(self, name: str) -> bool:
        return bool(_NAME.fullmatch(name)) and self._path(name).is_file()

    def __getitem__(self, name: str) -> Voice:
        """The voice of that name; raises VoiceError."""
        return Voice.load(self._path(name))

    def add(self, voice: Voice, replace: bool = False) -> Path:
        """Keeps a voice under its name; returns its file.

        Raises:
            VoiceError: The name is no name, or taken and `replace` is not set.
        """
        check_name(voice.name)
        path = self._path(voice.name)
        if path.exists() and not replace:
            raise VoiceError(f"there is a voice {voice.name!r} already: --replace it, or rename")
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        voice.save(part)
        part.replace(path)  # at once: a killed process leaves the old voice or the new one
        return path

    def remove(self, name: str) -> None:
        """Deletes a voice; raises VoiceError if there is none."""
        if name not in self:
            raise VoiceError(f"no voice {name!r} of yours; there are: {', '.join(self.names)}")
        self._path(name).unlink()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def _home() -> Path:
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "voiceloom" / "voices"
