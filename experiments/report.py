"""What a measurement leaves behind: a table, its numbers, and a picture if there is one."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def kept(out: Path) -> dict[str, Any]:
    """What an earlier measurement, perhaps broken off, has left in `out`.json: not made again."""
    record = out.with_suffix(".json")
    return json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}


def write(out: Path, table: str, numbers: Any, figure: Figure | None = None) -> None:
    """Writes `out`.md, `out`.json and `out`.png, and prints the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".md").write_text(table, encoding="utf-8")
    told = json.dumps(numbers, indent=1, default=float)
    out.with_suffix(".json").write_text(told + "\n", encoding="utf-8")
    if figure is not None:
        figure.savefig(out.with_suffix(".png"), dpi=110)
    print(table)
