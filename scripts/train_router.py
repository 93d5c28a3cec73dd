#!/usr/bin/env python3
"""Trains the routing weights that the package ships, from recorded answers.

    .venv/bin/python scripts/train_router.py --data DIR [--out FILE]
    .venv/bin/python scripts/train_router.py --data DIR --ablations

Only `pool_*_dev.jsonl` is read. The same data on the same machine give the same bytes; one thread
of linear algebra, some ten seconds.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

from omni_grpc.evaluation.ablations import ablations
from omni_grpc.evaluation.data import DataError, pool_names, read_pool, require_enough
from omni_grpc.evaluation.reading import read_library
from omni_grpc.evaluation.shipping import fit_scale, ship_pool
from omni_grpc.evaluation.wider import read_wider
from omni_grpc.routing.learned import shared_encoder
from omni_grpc.routing.learned.quality import WEIGHTS
from omni_grpc.routing.learned.weights import Weights, write_weights


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Train the routing weights.")
    parser.add_argument("--data", type=Path, required=True, help="folder with pool_*_dev.jsonl")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument(
        "--ablations", action="store_true", help="train nothing: print what helped and what did not"
    )
    arguments = parser.parse_args()
    names = pool_names(arguments.data)
    pools = [read_pool(arguments.data, name, ["dev"]) for name in names]
    for data in pools:
        require_enough(data)
    encoder = shared_encoder()
    library = read_library(pools, encoder, _say)
    if arguments.ablations:
        wider = read_wider(arguments.data, encoder, library.seen.plain.whole, _say)
        if wider is None:
            _say("neither in DIR nor beside it: llmrouter_ulab and routellm; no rows of wider data")
        print(
            "| pool | change | NI0 saved | worst source | shipped saved | quality | worst source"
            " | left out, worst | gap closed |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for data in pools:
            for row in ablations(data, library, wider):
                print(
                    f"| {row.pool} | {row.change} | {row.saved_ni0:.1f} % |"
                    f" {row.worst_source_ni0:+.1f} |"
                    f" {row.saved_shipped:.1f} % | {row.difference_shipped:+.2f} |"
                    f" {row.worst_source:+.1f} | {row.left_out_worst:+.1f} |"
                    f" {row.gap_closed:.1f} % |",
                    flush=True,
                )
        return
    trained = [(data, ship_pool(data, library)) for data in pools]
    scale, left_out = fit_scale(trained)
    write_weights(
        arguments.out,
        Weights(pools=tuple(one.pool for _, one in trained), scale=scale),
    )
    for _, one in trained:
        print(f"pool {one.pool.name}: cost weighs {one.pool.cost_weight}")
    print(f"ratings: slope {scale.slope}, doubt {scale.doubt:.3f}; squared error left out")
    for case in left_out:
        print(
            f"  {case.pool} {case.model:20} rating {case.rating_alone:.4f}"
            f"  with difficulty {case.with_difficulty:.4f}  own head {case.own_head:.4f}"
        )
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


def _say(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except DataError as error:
        sys.exit(f"Error: {error}")
