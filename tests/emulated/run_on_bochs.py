"""Runs a static program for x86-64 Linux on an emulated Sapphire Rapids: AVX-512, VNNI and BF16 on
any machine with a 64-bit x86 Linux.

usage: run_on_bochs.py LIBRARY PROGRAM [argument...]

The processor is Bochs' (the package bochscpu-python), without a machine around it; LIBRARY is
bochs_model.c. The program lies at its addresses in RAM that is mapped one to one and runs in ring
0; a system call lands in STUB, whose first instruction calls us. We are the kernel: memory, files
to read, output, the clock. One thread, no signals; some hundred times slower than a processor.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import sys
import time

PAGE = 4096
RAM = 512 << 20
TABLES, STUB = 0x1000, 0x8000  # below the program, which begins at 4 MiB
MAPPED = RAM // 2  # mmap's memory from here on, brk's below
SYSCALL_STUB = bytes.fromhex("0f09 ffe1")  # wbinvd, whose hook we are; jmp rcx, where it came from

ram = mmap.mmap(-1, RAM)


def put(address: int, data: bytes) -> None:
    ram[address : address + len(data)] = data


def text(address: int) -> str:
    return ram[address : ram.find(b"\0", address)].decode()


def map_memory(memory) -> None:
    """Pages of 2 MiB, each at its own address."""
    base = ctypes.addressof(ctypes.c_char.from_buffer(ram))
    for page in range(0, RAM, PAGE):
        memory.page_insert(page, base + page)
    put(TABLES, struct.pack("<Q", TABLES + PAGE | 3))
    put(TABLES + PAGE, struct.pack("<Q", TABLES + 2 * PAGE | 3))
    put(
        TABLES + 2 * PAGE,
        struct.pack(f"<{RAM >> 21}Q", *(i << 21 | 0x83 for i in range(RAM >> 21))),
    )
    put(STUB, SYSCALL_STUB)


def load(program: str) -> tuple[int, int, dict[int, int]]:
    """Entry, end, and what its start reads about itself (the auxiliary vector)."""
    with open(program, "rb") as file:
        elf = file.read()
    entry, headers = struct.unpack_from("<QQ", elf, 24)
    size, count = struct.unpack_from("<HH", elf, 54)
    end = headers_at = 0
    for i in range(count):
        kind, _, offset, at, _, in_file, in_ram, _ = struct.unpack_from(
            "<IIQQQQQQ", elf, headers + i * size
        )
        if kind == 1:
            put(at, elf[offset : offset + in_file])
            end = max(end, at + in_ram)
            if offset == 0:
                headers_at = at + headers
    return entry, end, {3: headers_at, 4: size, 5: count, 6: PAGE, 9: entry, 23: 0}


def make_stack(arguments: list[str], auxiliary: dict[int, int]) -> int:
    top, at = RAM, []
    for string in arguments + ENVIRONMENT:
        data = string.encode() + b"\0"
        top -= len(data)
        put(top, data)
        at.append(top)
    top = (top & ~15) - 16
    put(top, bytes(range(16)))  # AT_RANDOM
    count = len(arguments)
    words = [count, *at[:count], 0, *at[count:], 0]
    for key, value in {**auxiliary, 25: top, 0: 0}.items():
        words += [key, value]
    top = (top - 8 * len(words)) & ~15
    put(top, struct.pack(f"<{len(words)}Q", *words))
    return top


class Kernel:
    def __init__(self, end: int):
        self.heap = self.heap_end = (end + PAGE - 1) & -PAGE
        self.mapped_end = MAPPED
        self.free: dict[int, list[int]] = {}  # unmapped places by size
        self.status: int | None = None

    def brk(self, cpu, end: int, *_) -> int:
        if self.heap <= end <= MAPPED:
            if end > self.heap_end:
                put(self.heap_end, bytes(end - self.heap_end))
            self.heap_end = end
        return self.heap_end

    def mmap(self, cpu, _, size: int, *__) -> int:
        size = (size + PAGE - 1) & -PAGE
        places = self.free.get(size)
        if places:
            place = places.pop()
        else:
            place = self.mapped_end
            if place + size > RAM - (8 << 20):  # the stack's
                return -errno.ENOMEM
            self.mapped_end += size
        put(place, bytes(size))
        return place

    def munmap(self, cpu, place: int, size: int, *_) -> int:
        self.free.setdefault((size + PAGE - 1) & -PAGE, []).append(place)
        return 0

    def arch_prctl(self, cpu, what: int, base: int, *_) -> int:
        if what != 0x1002:  # ARCH_SET_FS
            return -errno.EINVAL
        segment = cpu.fs
        segment.base = base
        cpu.fs = segment
        return 0

    def openat(self, cpu, _, path: int, flags: int, *__) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            return -errno.EROFS
        return os.open(text(path), os.O_RDONLY)

    def newfstatat(self, cpu, file: int, path: int, place: int) -> int:
        found = os.stat(text(path) or file)
        data = bytearray(144)
        struct.pack_into("<QIIIIQQQ", data, 16, 1, found.st_mode, 0, 0, 0, 0, found.st_size, PAGE)
        put(place, bytes(data))
        return 0

    def read(self, cpu, file: int, place: int, size: int, *_) -> int:
        data = os.read(file, size)
        put(place, data)
        return len(data)

    def write(self, cpu, file: int, place: int, size: int, *_) -> int:
        if file not in (1, 2):
            return -errno.EBADF
        return os.write(file, ram[place : place + size])

    def lseek(self, cpu, file: int, offset: int, whence: int, *_) -> int:
        return os.lseek(file, offset - (offset >> 63 << 64), whence)

    def close(self, cpu, file: int, *_) -> int:
        os.close(file)
        return 0

    def clock_gettime(self, cpu, _, place: int, *__) -> int:
        put(place, struct.pack("<QQ", *divmod(time.monotonic_ns(), 10**9)))
        return 0

    def exit(self, cpu, status: int, *_) -> int:
        self.status = status & 255
        return 0

    def nothing(self, cpu, *_) -> int:
        return 0

    def call(self, session, *_) -> None:
        cpu = session.cpu
        function = CALLS.get(cpu.rax, lambda *_: -errno.ENOSYS)
        try:
            result = function(self, cpu, cpu.rdi, cpu.rsi, cpu.rdx)
        except OSError as error:
            result = -error.errno
        cpu.rax = result & (1 << 64) - 1
        if self.status is not None:
            session.stop()

    def exception(self, session, _, vector: int, code: int) -> None:
        """Nothing that a correct program does: no page is missing."""
        cpu = session.cpu
        at = cpu.rip
        where = f"{at:#x} ({ram[at : at + 16].hex()}), address {cpu.cr2:#x}"
        print(f"exception {vector} ({code:#x}) at {where}", file=sys.stderr)
        self.status = 128
        session.stop()


# mprotect, rt_sigaction, rt_sigprocmask, sched_yield, madvise, futex, set_tid_address and
# set_robust_list change nothing here; what is not in the list does not exist.
CALLS = {
    **dict.fromkeys((10, 13, 14, 24, 28, 202, 218, 273), Kernel.nothing),
    **{0: Kernel.read, 1: Kernel.write, 3: Kernel.close, 8: Kernel.lseek, 9: Kernel.mmap},
    **{11: Kernel.munmap, 12: Kernel.brk, 60: Kernel.exit, 158: Kernel.arch_prctl},
    **{228: Kernel.clock_gettime, 231: Kernel.exit, 257: Kernel.openat, 262: Kernel.newfstatat},
}
# libgomp starts no thread, whatever is asked for.
ENVIRONMENT = ["OMP_THREAD_LIMIT=1"]


def start_state(bochscpu, entry: int, stack: int):
    """64-bit mode, ring 0, all of AVX-512's registers in use."""
    state = bochscpu.State()
    bochscpu.cpu.set_long_mode(state)
    state.cr0 = 0x80050033
    state.cr3 = TABLES
    state.cr4 = 0x50620  # PAE, OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE
    state.efer = 0xD01  # SCE, LME, LMA, NXE
    state.xcr0 = 0xE7
    state.mxcsr, state.mxcsr_mask, state.fpcw, state.fptw = 0x1F80, 0xFFFF, 0x37F, 0xFFFF
    state.rip, state.rsp, state.rflags = entry, stack, 2
    state.star, state.lstar, state.sfmask = 8 << 32, STUB, 0
    for name in ("cs", "ss", "ds", "es", "fs", "gs"):
        segment = bochscpu.Segment()
        segment.present, segment.base, segment.limit = True, 0, 0xFFFFFFFF
        segment.selector, segment.attr = (8, 0xA09B) if name == "cs" else (16, 0xC093)
        setattr(state, name, segment)
    return state


def main() -> int:
    library, program, *arguments = sys.argv[1:]
    ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)
    import bochscpu
    import bochscpu.cpu
    import bochscpu.memory

    map_memory(bochscpu.memory)
    entry, end, auxiliary = load(program)
    kernel = Kernel(end)
    session = bochscpu.Session()
    session.cpu.state = start_state(bochscpu, entry, make_stack([program, *arguments], auxiliary))
    hook = bochscpu.Hook()
    hook.cache_cntrl = kernel.call
    hook.exception = kernel.exception
    session.run([hook])
    return 128 if kernel.status is None else kernel.status


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # the package says at a usual end that it leaks
