"""`make gpu-check`: all that needs a GPU, on a machine that has one and perhaps nothing else.

    python tools/gpu_check.py [--out FILE or FOLDER] [--only build,tests,...] [make's variables ...]

Steps, each timed, limited in time, and of no consequence for the others:
  wheels     installs WHEELS=<folder>'s packages beside this check (no network, nothing permanent)
  build      GPU=1 and GPU=1 CUDNN=1, by make with the variables given, e.g. DEPS=build/deps
  tests      tests/test_cuda_*.py with both libraries, at the same time
  bench      bench/bench_gpu.py, short with the first library, whole and with PyTorch beside it with
             the second; then bench/bench_layers.py: kernels that move and pool, and the layers of
             whole networks; nothing else runs then
  memory     test_cuda_memory.py with both, alone on the GPU, since it looks at its memory
  slow       the slow ones of test_cuda_plan.py with both libraries
  sanitizer  compute-sanitizer's memcheck and racecheck on tests of layers, of the detector's way
             to boxes and RoIs and of pasted masks (SANITIZER=<pytest's -k>), beside the slow ones
In this order, so that what counts most is there when --limit seconds (480) are over; what has no
time left is not begun. The report is a page of markdown; it and the logs lie in build/gpu-check; a
folder that --out names gets it and all the logs in one file.
Exits 1 where a step failed. Needs a Python (make's PYTHON) with numpy, pytest and cffi, of its own
or out of WHEELS.
"""

from __future__ import annotations

import argparse
import glob
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import site
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build/gpu-check"
SITE = FOLDER / "site"
LIBRARIES = {"cuBLAS": FOLDER / "libdarknet.so", "cuDNN": FOLDER / "cudnn/libdarknet.so"}
PARTS = ["wheels", "build", "tests", "bench", "memory", "slow", "sanitizer"]
LEAST = 5  # seconds, with which a step is begun
SANITIZER = (
    "against_cpu or two_heads_three_images or test_activations or test_mask_branch or test_pasting"
)


@dataclass
class Step:
    name: str
    log: Path | None = None
    seconds: float = 0.0
    ok: bool = False
    words: str = ""  # what it found, in a few words
    rows: list[dict] = field(default_factory=list)


steps: list[Step] = []
end = float("inf")  # of all, as time.perf_counter() tells it


def run(name: str, command: list, log: str, limit: float, understand=None, **variables) -> Step:
    """Runs a command into a log; `understand` makes the words of the report of its text."""
    step = Step(name, FOLDER / f"{log}.log")
    steps.append(step)
    start = time.perf_counter()
    limit = min(limit, end - start)
    if limit < LEAST:
        step.words = "no time was left"
        return step
    with step.log.open("w") as out:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            env=environment(**variables), start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            step.words = f"stopped after {limit:.0f} s; "
    step.seconds = time.perf_counter() - start
    step.ok = process.returncode == 0
    text = step.log.read_text(errors="replace")
    step.words += understand(text) if understand else last_line(text)
    print(f"{step.name}: {'ok' if step.ok else 'FAILED'}, {step.seconds:.0f} s: {step.words}")
    sys.stdout.flush()
    return step


def environment(**variables) -> dict[str, str]:
    paths = [SITE, ROOT / "python", ROOT / "tests"]
    given = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "YOLOMASK_TEST_CUDA": "need"}
    models = {"YOLOMASK_MODELS": str(ROOT / "models")} if (ROOT / "models").is_dir() else {}
    # PyTorch's copies of cuBLAS and cuDNN for all: one process holds only one of a name.
    if importlib.util.find_spec("torch"):
        wheels = [p for s in site.getsitepackages() for p in glob.glob(f"{s}/nvidia/*/lib")]
        given["LD_LIBRARY_PATH"] = os.pathsep.join(wheels)
    left = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return models | left | given | {key: str(value) for key, value in variables.items()}


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing was printed"


def tests_words(text: str) -> str:
    """pytest's summary, and the first failures, also of a run that was stopped before."""
    end = r"^=*\s*(.*\d+ (?:passed|failed|errors?|skipped|deselected).* in [\d.]+s.*?)\s*=*$"
    ends = re.findall(end, text, re.M)
    summary = r"^(?:\[gw\d+\] \[ *\d+%\] )?(?:FAILED|ERROR) (tests/.+?)(?: - .*)?\s*$"
    lines = rf"{summary}|^(tests/.+?) (?:FAILED|ERROR)\s+\["
    failures = ["".join(name) for name in re.findall(lines, text, re.M)]
    return "; ".join([ends[-1] if ends else last_line(text), *dict.fromkeys(failures)][:9])


def sanitizer_words(text: str) -> str:
    """The sanitizer's summary and its first finding, beside pytest's."""
    found = re.findall(r"^=+ ((?:ERROR|RACECHECK|LEAK) SUMMARY.*)$", text, re.M)
    first = re.findall(r"^=+ ((?:Invalid|Error|Warning|Race|Uninit).*)$", text, re.M)
    return "; ".join(found[-1:] + first[:1] + [tests_words(text)])


def bench_words(numbers: Path) -> str:
    rows = json.loads(numbers.read_text()) if numbers.is_file() else []
    return f"{sum('ms' in row for row in rows)} of {len(rows)} figures"


def build_words(text: str) -> str:
    """What was linked, and the first errors."""
    there = [name for name, library in LIBRARIES.items() if library.is_file()]
    errors = re.findall(r"^.*(?:error:|missing:|undefined reference).*$", text, re.M)
    return "; ".join([f"libraries: {', '.join(there) or 'none'}"] + [e[:160] for e in errors[:4]])


# ---- The steps -------------------------------------------------------------------------------


def install_wheels(folder: str) -> None:
    wheels = sorted(Path(folder).glob("*.whl"))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--upgrade",
    ]
    run("wheels", [*pip, "--no-compile", "--target", SITE, *wheels], "wheels", 60,
        lambda text: text.strip()[-200:] or f"{len(wheels)} packages")  # fmt: skip
    sys.path.insert(0, str(SITE))


def build(variables: list[str]) -> None:
    jobs = f"-j{os.cpu_count()}"
    command = ["make", "-k", jobs, "--no-print-directory", "gpu-libraries", *variables]
    run("build GPU=1, GPU=1 CUDNN=1", command, "build", 300, build_words)
    # As it was linked, without any search path.
    for kind, library in LIBRARIES.items():
        if library.is_file():
            run(f"program, {kind}", [library.parent / "darknet", "version"],
                f"program-{kind.lower()}", 20,
                LD_LIBRARY_PATH="")  # fmt: skip


def pytest(*words: str, marks: str = "not slow", files: str = "tests/test_cuda_*.py") -> list[str]:
    found = sorted(glob.glob(files, root_dir=ROOT))
    plain = ["-v", "-rs", "--tb=short", "-p", "no:cacheprovider", "-m", marks]
    return [sys.executable, "-m", "pytest", *plain, *words, *found]


def tests(kind: str) -> None:
    workers = max(1, min(6, (os.cpu_count() or 1) // 3))
    spread = ["-n", str(workers)] if importlib.util.find_spec("xdist") else []
    log = f"tests-{kind.lower()}"
    run(f"tests, {kind}", pytest(*spread), log, 170, tests_words, YOLOMASK_LIBRARY=LIBRARIES[kind],
        YOLOMASK_PROGRAM=LIBRARIES[kind].parent / "darknet")  # fmt: skip


def memory(kind: str) -> None:
    command = pytest(marks="slow", files="tests/test_cuda_memory.py")
    run(f"memory, {kind}", command, f"memory-{kind.lower()}", 60, tests_words,
        YOLOMASK_LIBRARY=LIBRARIES[kind])  # fmt: skip


def slow(kind: str) -> None:
    command = pytest(marks="slow", files="tests/test_cuda_plan.py")
    run(f"whole networks by the plan, {kind}", command, f"plan-{kind.lower()}", 120, tests_words,
        YOLOMASK_LIBRARY=LIBRARIES[kind])  # fmt: skip


def find_sanitizer() -> str | None:
    there = sorted(glob.glob("/usr/local/cuda*/bin/compute-sanitizer"))
    return shutil.which("compute-sanitizer") or (there[-1] if there else None)


def sanitizer(tool: str) -> None:
    program = find_sanitizer()
    if not program:
        steps.append(Step(f"sanitizer, {tool}", words="no compute-sanitizer on this machine"))
        return
    options = ["--tool", tool, "--report-api-errors", "no", "--error-exitcode", "9"]
    chosen = os.environ.get("SANITIZER") or SANITIZER
    run(f"sanitizer, {tool}", [program, *options, *pytest("-k", chosen)], tool, 150,
        sanitizer_words, YOLOMASK_LIBRARY=LIBRARIES["cuBLAS"])  # fmt: skip


def bench(kind: str, beside: list[str]) -> None:
    numbers = FOLDER / f"bench-{kind.lower()}.json"
    numbers.unlink(missing_ok=True)
    command = [sys.executable, "bench/bench_gpu.py", "--json", numbers, *beside]
    step = run(f"benchmark, {kind}", command, f"bench-{kind.lower()}", 160,
               lambda text: bench_words(numbers), YOLOMASK_LIBRARY=LIBRARIES[kind])  # fmt: skip
    step.rows = json.loads(numbers.read_text()) if numbers.is_file() else []


def layers(what: str, kind: str, *cfgs: str) -> None:
    command = [sys.executable, "bench/bench_layers.py", "--rounds", "20", *cfgs]
    run(f"{what}, {kind}", command, what.replace(" ", "-"), 30,
        lambda text: f"{len(text.splitlines())} lines in its log",
        YOLOMASK_LIBRARY=LIBRARIES[kind])  # fmt: skip


def bench_all(built: list[str]) -> None:
    """The parts that the last library has beside PyTorch, and few of them with the other."""
    torch = ["--torch"] if importlib.util.find_spec("torch") else []
    for kind in built[:-1]:
        bench(kind, ["--parts", "forward,branch", "--inference", "1", "--limit", "30"])
    whole = "forward,branch,images,streams,steps,training"
    bench(built[-1], [*torch, "--parts", whole, "--limit", "150"])
    layers("kernels", built[-1])
    layers("layers of networks", built[-1], "cfg/yolov3.cfg", "cfg/yolomask.cfg")


def together(jobs: list[tuple]) -> None:
    with ThreadPoolExecutor() as pool:
        for job in [pool.submit(step, word) for step, word in jobs]:
            job.result()


# ---- The report ------------------------------------------------------------------------------


def answer(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def facts(options) -> list[tuple[str, str]]:
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    nvcc = re.search(r"release ([\d.]+)", answer(options.nvcc, "--version"))
    packages = ["torch", "nvidia-cublas", "nvidia-cudnn-cu13", "numpy", "pytest"]
    return [
        ("commit", options.commit or answer("git", "rev-parse", "--short", "HEAD")),
        ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())),
        ("GPU, memory, driver", answer("nvidia-smi", *query)),
        ("CUDA's compiler", nvcc[1] if nvcc else "none"),
        ("C compiler", answer("cc", "--version").splitlines()[0]),
        ("cores", str(os.cpu_count())),
        ("Python", sys.version.split()[0]),
        ("packages", ", ".join(f"{name} {version(name)}" for name in packages)),
    ]


def cell(value: float) -> str:
    return f"{value:.4g}" if value < 1000 else f"{value:.0f}"


def bench_table() -> list[str]:
    lines = ["| what | batch | who | ms (range) | images/s |", "|---|---|---|---|---|"]
    for step in steps:
        kind = step.name.rpartition(", ")[2]
        for row in step.rows:
            who = f"ours, {kind}" if row["who"] == "ours" else row["who"]
            if "error" in row:
                time_, rate = f"not measured: {row['error']}", ""
            else:
                time_ = f"{cell(row['ms'])} ({cell(row['low'])}-{cell(row['high'])})"
                rate = cell(row["images_per_second"])
            lines.append(f"| {row['what']} | {row['batch']} | {who} | {time_} | {rate} |")
    return lines


def report(options, seconds: float) -> str:
    lines = ["# GPU check", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts(options)]
    lines += ["", "| step | result | seconds | what it says |", "|---|---|---|---|"]
    for step in steps:
        said = step.words.replace("|", "/").replace("\n", " ")
        result = "ok" if step.ok else "**failed**"
        lines.append(f"| {step.name} | {result} | {step.seconds:.1f} | {said} |")
    lines += [f"| all | | {seconds:.0f} | |", ""]
    if any(step.rows for step in steps):
        lines += ["Medians; float32 where nothing is said; all on this GPU in one run.", ""]
        lines += bench_table()
    return "\n".join(lines) + "\n"


def with_title(step: Step) -> str:
    """A step's log, its end where it is long, under the step's name."""
    text = step.log.read_text(errors="replace") if step.log and step.log.is_file() else ""
    return f"==== {step.name}\n{text[-500_000:]}"


def write(options, text: str) -> None:
    (FOLDER / "report.md").write_text(text)
    if options.out and options.out.is_dir():
        (options.out / "report.md").write_text(text)
        (options.out / "logs.txt").write_text("\n".join(map(with_title, steps)))
    elif options.out:
        options.out.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description="All that needs a GPU.")
    parser.add_argument("--out", type=Path, help="a file for the report, or a folder for all")
    parser.add_argument("--only", default=",".join(PARTS), help="steps, with commas between them")
    parser.add_argument("--limit", type=float, default=480, help="seconds for all")
    parser.add_argument("--commit", default="", help="what is tested, where git does not say it")
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--wheels", default="", help="a folder of wheels")
    parser.add_argument("variables", nargs="*", help="for make: DEPS=build/deps ...")
    options = parser.parse_args()
    only = options.only.split(",")
    if unknown := sorted(set(only) - set(PARTS)):
        parser.error(f"--only: {', '.join(unknown)}: not among {', '.join(PARTS)}")
    global end
    FOLDER.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    end = start + options.limit
    if options.wheels and "wheels" in only:
        install_wheels(options.wheels)
    missing = [name for name in ("numpy", "pytest", "cffi") if not importlib.util.find_spec(name)]
    if missing:
        print(f"missing: {', '.join(missing)} for {sys.executable}: name a Python that has them "
              "(make env, then make gpu-check PYTHON=.venv/bin/python) or a folder of their wheels "
              "(WHEELS=build/wheels; docs/gpu.md)", file=sys.stderr)  # fmt: skip
        return 1
    if "build" in only:
        build(options.variables)
    built = [kind for kind, library in LIBRARIES.items() if library.is_file()]
    if "tests" in only:
        together([(tests, kind) for kind in built])
    if "bench" in only and built:
        bench_all(built)
    for kind in built if "memory" in only else []:
        memory(kind)
    rest = [(slow, kind) for kind in built if "slow" in only]
    if "cuBLAS" in built and "sanitizer" in only:
        rest += [(sanitizer, tool) for tool in ("memcheck", "racecheck")]
    together(rest)
    text = report(options, time.perf_counter() - start)
    write(options, text)
    print(text)
    return 0 if steps and all(step.ok for step in steps) and len(built) == len(LIBRARIES) else 1


if __name__ == "__main__":
    sys.exit(main())
