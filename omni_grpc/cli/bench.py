"""`omni-grpc bench`: measurements that an operator can repeat."""

from pathlib import Path
from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Json

bench_app = typer.Typer(help="Measurements to repeat.", no_args_is_help=True)


@bench_app.callback()
def _group() -> None:
    """Keeps `routing` a command of its own while it is the only one."""


@bench_app.command("routing")
def bench_routing(
    data: Annotated[Path, typer.Option(help="Folder of recorded answers: pool_*.jsonl and meta.")],
    predict: Annotated[
        Path | None,
        typer.Option(help="Decide on this file instead, as shipped: one decision a line."),
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for the plots, PNG and SVG. [default: none]")
    ] = None,
    json_: Json = False,
) -> None:
    """Judge routing on recorded answers, beside every baseline; nothing is sent anywhere.

    Each pool is judged by nested cross-validation and with each source left out. What is shipped
    is judged on the parts that it was not trained on.
    """
    from omni_grpc.cli.bench_routing import run_bench_routing, run_predict

    with told():
        if predict is not None:
            run_predict(data, predict)
        else:
            run_bench_routing(data, plots, as_json=json_)
