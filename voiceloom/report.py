"""What a stream of speech cost, for people and for tables."""

from typing import NamedTuple


class Report(NamedTuple):
    """Where the time of a stream went, in seconds; compiling is not in it.

    `first_chunk_s` is the sum of the parts before it and of waiting for the first sentence.
    """

    voice_s: float  # finding the voice and opening a stream with it
    text_s: float  # front end, first sentence
    prefill_s: float  # encoding its text
    frames_s: float  # codes of the first chunk
    decode_s: float  # samples of the first chunk
    first_chunk_s: float  # from the request to the first chunk
    first_audible_s: float  # from the request to the first audible sample, played from then on
    audio_s: float  # given out so far
    busy_s: float  # spent making it
    frames: int
    tokens: int

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio."""
        return self.busy_s / max(self.audio_s, 1e-9)

    @property
    def tokens_per_s(self) -> float:
        """Codes written per second of work."""
        return self.tokens / max(self.busy_s, 1e-9)

    def __str__(self) -> str:
        """Two lines: speed, then the time to first audio in its parts."""
        parts = {
            "voice": self.voice_s,
            "text": self.text_s,
            "prefill": self.prefill_s,
            "frames": self.frames_s,
            "decode": self.decode_s,
        }
        waited = self.first_chunk_s - sum(parts.values())
        if waited > 5e-4:
            parts["waiting"] = waited
        return (
            f"{self.audio_s:.2f} s of speech, real-time factor {self.real_time_factor:.3f}, "
            f"{self.tokens_per_s:,.0f} tokens/s\n"
            f"  first chunk after {1000 * self.first_chunk_s:.0f} ms = "
            + " + ".join(f"{name} {1000 * seconds:.0f}" for name, seconds in parts.items())
            + f"; first audible sample after {1000 * self.first_audible_s:.0f} ms"
        )
