"""What a measurement leaves behind: a table, its numbers, and a picture if there is one."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def write(out: Path, table: str, numbers: Any, figure: Figure | None = None) -> None:
    """Writes `out`.md, `out`.json and `out`.png, and prints the table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".md").write_text(table, encoding="utf-8")
    told = json.dumps(numbers, indent=1, default=float)
    out.with_suffix(".json").write_text(told + "\n", encoding="utf-8")
    if figure is not None:
        figure.savefig(out.with_suffix(".png"), dpi=110)
    print(table)
