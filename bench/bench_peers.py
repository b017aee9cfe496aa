"""Our networks beside other engines, on the same weights, in turns.

    python bench/bench_peers.py [--net yolov3 ...] [--size 416] [--threads 2] [--batch 1]
        [--precision f32] [--peers openvino,onnxruntime,ncnn,opencv,torch,darknet] [--rounds 15]
        [--json FILE]

Networks are names of cfg/ or paths. The peers get our cfg and weights, or the ONNX file that
`yolomask export` makes of them, and their outputs (what the heads read) are compared with those of
our plain path before anything is timed: float32 beyond 1e-4 relative RMS is marked wrong. A run is
one pass over a letterboxed photo: no decoding, no suppression, no masks. Then engines take turns,
so that a busy moment meets all. In the table: median and smallest time; ours / peer, the median of
the rounds' ratios, below 1 where we are faster; GFLOP/s, counting direct convolution's operations,
and their share of what fused multiply-adds in registers reach on as many threads (measured in every
round; the best counts, the others show how quiet the machine was), which Winograd may exceed; load
and first image in a process of its own, the quicker of two, with its peak of memory and, in
brackets, what it had before loading. `exact` is float32 without Winograd, ours and ncnn's. Peers
that are missing are left out, and it is said how to get them. Debian's darknet times itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from peers import PEERS, find, how_to_install  # noqa: E402
from peers.case import Case, Unsupported, make_case  # noqa: E402
from peers.int8 import write_int8  # noqa: E402
from peers.measure import in_turns, measure_start, relative_rms, start_of  # noqa: E402
from peers.ours import reference  # noqa: E402
from peers.table import number, show  # noqa: E402

NETS = ["yolov3", "yolov3-tiny", "yolov4-tiny", "yolo-fastest-1.1"]
HEADER = ["engine", "ms", "min", "ours / peer", "GFLOP/s", "% of peak", "rel. RMS",
          "load s", "first s", "peak MB"]  # fmt: skip


def open_engines(case: Case, peers: list[str]) -> tuple[dict, list[dict]]:
    """The engines that run the case, by key, and a row for each, with its error against ours."""
    engines, rows, wanted = {}, [], reference(case)
    for key in ["ours", *peers]:
        try:
            module = find(key)
            row = {"key": key, "engine": f"{module.NAME} {module.version()}".strip()}
            if not hasattr(module, "load"):  # Debian's darknet
                row["times"] = [module.milliseconds(case)]
                rows.append(row)
                continue
            if hasattr(module, "prepare"):
                module.prepare(case)
            engine = module.load(case)
        except ImportError as error:
            print(f"{key} is left out: {error}. {how_to_install(key)}", file=sys.stderr)
            continue
        except Unsupported as error:
            print(f"{key} is left out: it {error}", file=sys.stderr)
            continue
        outputs = engine.outputs()
        row["error"] = relative_rms(outputs, wanted)
        row["wrong"] = case.float32 and not row["error"] <= 1e-4
        engines[key] = engine
        rows.append(row)
    return engines, rows


def measure_starts(keys: list[str], case_file: Path) -> dict[str, dict]:
    """The quicker of two starts each, in turns: whoever is first also waits for the system, which
    has to find memory that nobody used lately."""
    rounds = [{key: start_of(key, case_file) for key in keys} for _ in range(2)]
    return {
        key: min((r[key] for r in rounds), key=lambda s: s["load"] + s["first"]) for key in keys
    }


def measure(case: Case, arguments) -> dict:
    if case.precision == "int8":
        write_int8(case)
    case_file = Path(case.folder, "case.json")
    case.write(case_file)
    engines, rows = open_engines(case, arguments.peers)
    starts = {} if arguments.no_start else measure_starts(list(engines), case_file)
    runs = {key: engine.run for key, engine in engines.items()}
    times, peaks = in_turns(runs, arguments.rounds, case.threads)
    for row in rows:
        row.setdefault("times", times.get(row["key"]))
        row |= starts.get(row["key"], {})
        row["ms"], row["min"] = statistics.median(row["times"]), min(row["times"])
        row["gflops"] = 1e3 * case.gigaflops / row["ms"]
        if ours := times.get("ours"):
            pairs = zip(ours, row["times"], strict=False)
            row["ratio"] = statistics.median(a / b for a, b in pairs)
    rows.sort(key=lambda row: row["ms"])
    return {"case": vars(case), "peaks": peaks, "rows": rows}


def print_result(result: dict) -> None:
    case, peaks = result["case"], result["peaks"]
    peak = max(peaks)
    print(
        f"\n{case['net']}, {case['width']} x {case['height']}, batch {case['batch']}, "
        f"{case['precision']}, {case['threads']} threads: {case['gigaflops']:.2f} GFLOP; "
        f"peak {peak:.0f} GFLOP/s (by round: median {statistics.median(peaks):.0f}, "
        f"smallest {min(peaks):.0f})\n"
    )
    rows = []
    for row in result["rows"]:
        error = f"{row['error']:.1e}" if "error" in row else "-"
        memory = f"{row['peak']:.0f} ({row['before']:.0f})" if "peak" in row else ""
        rows.append([
            f"**{row['engine']}**" if row["key"] == "ours" else row["engine"],
            number(row["ms"]), number(row["min"]), number(row.get("ratio")),
            number(row["gflops"]), f"{100 * row['gflops'] / peak:.0f}",
            error + " > 1e-4" * bool(row.get("wrong")),
            number(row.get("load")), number(row.get("first")), memory,
        ])  # fmt: skip
    show(HEADER, rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times networks beside other engines.")
    parser.add_argument("--net", nargs="+", default=NETS, help=f"({' '.join(NETS)})")
    parser.add_argument("--size", type=int, nargs="+", default=[416], help="side, or w and h (416)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(all cores)")
    parser.add_argument("--batch", type=int, default=1, help="(1)")
    parser.add_argument("--precision", choices=["f32", "exact", "bf16", "int8"], default="f32")
    parser.add_argument("--peers", default="openvino,onnxruntime,ncnn,opencv")
    parser.add_argument("--rounds", type=int, default=15, help="(15)")
    parser.add_argument("--no-start", action="store_true", help="no load times and memory: quicker")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--start", nargs=2, help=argparse.SUPPRESS)  # an engine, a case's file
    arguments = parser.parse_args()
    arguments.peers = [name for name in arguments.peers.split(",") if name]
    unknown = set(arguments.peers) - set(PEERS)
    if unknown:
        parser.error(f"--peers: {', '.join(sorted(unknown))}: not among {', '.join(PEERS)}")
    return arguments


def main() -> None:
    arguments = parse()
    if arguments.start:
        key, case_file = arguments.start
        print(json.dumps(measure_start(find(key), Case.read(case_file))))
        return
    results = []
    for net in arguments.net:
        case = make_case(
            net, arguments.size, arguments.batch, arguments.threads, arguments.precision
        )
        results.append(measure(case, arguments))
        print_result(results[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
