"""What a token LM is made of, as plain numbers: no jax here, and `config.json` holds all of it.

The alphabet comes in as tables by symbol id (boundary class, longest dwell), so that the model
knows nothing of phones and a released config says everything that sampling needs.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Shape of the frame-synchronous pointer LM; times in seconds, the rest in counts.

    Attributes:
      design: "pointer" (`lm.model`), or one that it is measured against (`lm.baseline`).
      boundary_of: Boundary class of every symbol id [V], 0 for a phone; as `data.phones` has them.
      max_dwell_s: Longest time the pointer stays on a unit of each symbol id [V], then <start>.
      final_classes: Boundary classes that end a sentence.
      frame_rate: Codec frames per second.
      books: Codebooks written by the LM, Q.
      pitches, levels: Classes of a prosody token (`data.prosody`); 0 pitches: no such stream.
      entries: Entries per codebook, K.
      advance: Most units the pointer passes in one frame, A; the excess waits for the next frame.
      width, layers, heads, mlp_width: Of the backbone.
      window_s: Reach of the backbone's attention and of its ring cache.
      text_layers, text_mlp_width: Of the text encoder, which shares width and heads.
      text_window: Units the text encoder sees back and, inside the look-ahead, ahead.
      depth_width, depth_layers, depth_heads, depth_mlp_width: Of the depth transformer.
      code_width: Width of a code's embedding, shared by backbone and depth transformer.
      voice_books: Codebooks the voice encoder reads.
      voice_width: Width of a voice vector, Dv.
      voice_mlp_width: Hidden width of the voice encoder.
      dwell_buckets: Frames since the last onset are told apart up to this number.
      tail_s: Silence after the pointer has reached <end>.
    """

    boundary_of: tuple[int, ...]
    max_dwell_s: tuple[float, ...]
    final_classes: tuple[int, ...] = (2, 3, 4)
    frame_rate: float = 12.5
    books: int = 8
    pitches: int = 0
    levels: int = 8
    entries: int = 1024
    advance: int = 3
    width: int = 256
    layers: int = 7
    heads: int = 4
    mlp_width: int = 640
    window_s: float = 10.24
    text_layers: int = 2
    text_mlp_width: int = 512
    text_window: int = 96
    depth_width: int = 192
    depth_layers: int = 2
    depth_heads: int = 4
    depth_mlp_width: int = 512
    code_width: int = 96
    voice_books: int = 8
    voice_width: int = 192
    voice_mlp_width: int = 256
    dwell_buckets: int = 16
    tail_s: float = 0.16
    design: str = "pointer"

    def __post_init__(self) -> None:
        # ml_collections hands lists and tuples alike, a frozen (hashable) config needs tuples.
        for name in ("boundary_of", "max_dwell_s", "final_classes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.max_dwell_s) != len(self.boundary_of) + 1:
            raise ValueError(
                f"max_dwell_s has {len(self.max_dwell_s)} entries: it needs one per symbol "
                f"({len(self.boundary_of)}) and one for <start>"
            )

    @property
    def symbols(self) -> int:
        """Size of the alphabet, V, padding (id 0) included."""
        return len(self.boundary_of)

    @property
    def start(self) -> int:
        """Symbol id of the pseudo unit <start>, the leading silence."""
        return self.symbols

    @property
    def end(self) -> int:
        """Symbol id of the pseudo unit <end>, the trailing silence."""
        return self.symbols + 1

    @property
    def window(self) -> int:
        """Reach of the backbone's attention in frames."""
        return round(self.window_s * self.frame_rate)

    @property
    def tail_frames(self) -> int:
        """Frames written after the one in which the pointer reached <end>."""
        return round(self.tail_s * self.frame_rate)
