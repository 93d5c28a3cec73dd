"""Quality against cost, as a picture: the router's curve, single models, their hull, the oracle."""

from pathlib import Path

from omni_grpc.evaluation.measuring import Judged


def write_plots(judged: Judged, folder: Path) -> list[Path]:
    """Writes `routing-{pool}.png` and `.svg`."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "omni-grpc"
    figure, axes = plt.subplots(figsize=(8, 5))
    for points, label, style in (
        (judged.oracle_curve, "oracle (knows the answers)", "k:"),
        (judged.hull_points, "random mix of single models", "0.6"),
        (judged.curve, "omni, nested cross-validation", "C0-"),
    ):
        ordered = sorted(points)
        cost = [1e3 * point[0] for point in ordered]
        quality = [100 * point[1] for point in ordered]
        if style == "0.6":
            axes.plot(cost, quality, color=style, linestyle="--", label=label)
        else:
            axes.plot(cost, quality, style, label=label)
    for model, (cost_usd, grade) in judged.singles.items():
        axes.plot(1e3 * cost_usd, 100 * grade, "C1o", markersize=5)
        axes.annotate(
            model, (1e3 * cost_usd, 100 * grade), (4, -10), textcoords="offset points", fontsize=8
        )
    axes.set_xscale("log")
    axes.set_xlabel("dollars per 1,000 prompts (log)")
    axes.set_ylabel("good answers, %")
    axes.set_title(f"Pool {judged.pool}: {judged.prompts:,} recorded prompts")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix in ("png", "svg"):
        path = folder / f"routing-{judged.pool}.{suffix}"
        figure.savefig(path, dpi=110, metadata={"Date": None} if suffix == "svg" else None)
        written.append(path)
    plt.close(figure)
    return written
