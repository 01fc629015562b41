"""``make bench``: one row per budget. Ratios against a baseline in the same run; a shared machine is noisy."""

import os

from rich.table import Table

from benchmarks import ingestion, training_step
from cluster.console import console, print_result


def main() -> None:
    """Run all rows and print them."""
    rows = {
        "video to crops, stride 5, over raw decoding (frame rate)": (
            ingestion.crops_against_decode(),
            f">= {ingestion.BUDGET}",
        ),
        "matching and loss over encoder forward + backward (time)": (
            training_step.loss_against_encoder(),
            f"<= {training_step.BUDGET}",
        ),
    }
    table = Table(title=f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", title_justify="left")
    for column in ("what", "median", "lowest", "highest", "budget"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, (row, budget) in rows.items():
        table.add_row(name, f"{row['ratio']:.3f}", f"{row['lowest']:.3f}", f"{row['highest']:.3f}", budget)
    console.print(table)
    print_result({name: row for name, (row, _) in rows.items()})


if __name__ == "__main__":
    main()
