"""Rows of a bench: ours beside each peer, as a table and as JSON.

A row is {"case", "ours", "peer", "peer_name", "unit", "better", "ratio"}, ratio = ours / peer. Each
case has a row for each peer and one with peer_name "best" for the best of them; a figure that has
no peer has one row with null for peer, peer_name and ratio.
"""

import json
import statistics


def ratio(ours, peer):
    """ours / peer; 0 when both are 0, None (not reached) when only the peer is."""
    if peer == 0:
        return 0.0 if ours == 0 else None
    return ours / peer


def median(values):
    """The median of at least three runs."""
    if len(values) < 3:
        raise ValueError(f"a row needs at least three runs, not {len(values)}")
    return statistics.median(values)


def rows_of(case, unit, better, ours, peers):
    """The rows of one case. `ours` is a list of runs, `peers` a dictionary of such lists."""
    mine = median(ours)
    theirs = {name: median(runs) for name, runs in peers.items()}
    choose = max if better == "higher" else min
    theirs["best"] = choose(theirs.values())
    return [
        {
            "case": case,
            "ours": mine,
            "peer": value,
            "peer_name": name,
            "unit": unit,
            "better": better,
            "ratio": ratio(mine, value),
        }
        for name, value in theirs.items()
    ]


def row_of(case, unit, better, ours):
    """A figure without a peer beside it."""
    return {"case": case, "ours": ours, "peer": None, "peer_name": None, "unit": unit,
            "better": better, "ratio": None}


def print_table(rows):
    """Prints the rows, aligned, with `+` where ours is the better one or equal."""
    head = ("case", "ours", "peer", "", "unit", "ratio", "")
    lines = [head]
    for row in rows:
        reached = row["ratio"] is not None and (
            row["ratio"] >= 1 if row["better"] == "higher" else row["ratio"] <= 1
        )
        shown = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(
            (
                row["case"],
                f"{row['ours']:.2f}",
                "-" if row["peer"] is None else f"{row['peer']:.2f}",
                row["peer_name"] or "",
                f"{row['unit']}, {row['better']} is better",
                shown,
                "+" if reached else "",
            )
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    right = {1, 2, 5}
    for line in lines:
        cells = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        )
        print("  ".join(cells).rstrip())


def write_json(rows, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=2)
        file.write("\n")
