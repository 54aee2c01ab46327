"""C files that train, on ARM and AVR: they fit, and give the bits of a Trainer."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from exported import STRICT
from jitprop import Trainer, export

DEVICES = {
    "Cortex-M0": ("arm-none-eabi", ["-mcpu=cortex-m0", "-mthumb"]),
    "Cortex-M4F": (
        "arm-none-eabi",
        ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
    ),
    "ATmega328P": ("avr", ["-mmcu=atmega328p"]),
}
# Bytes of code of 2-4-1 and 16-16-4, without batches and with them: docs/export.md shows them.
CODE = {
    "Cortex-M0": [[1632, 2036], [1732, 2144]],
    "Cortex-M4F": [[908, 1292], [976, 1368]],
    "ATmega328P": [[4114, 5236], [4226, 5330]],
}
SIZES = [[2, 4, 1], [16, 16, 4]]
RATE = 0.125


def trainer(sizes, dtype):
    return Trainer(
        sizes,
        activation="tanh",
        learning_rate=RATE,
        batch_size=1,
        shuffle=False,
        seed=0,
        dtype=dtype,
    )


def found(*programs):
    """Skip where a program is not there."""
    for name in programs:
        if shutil.which(name) is None:
            pytest.skip(f"there is no {name} here")


def run(command, folder):
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    return printed


@pytest.mark.parametrize("batches", [False, True])
@pytest.mark.parametrize("net", [0, 1])
@pytest.mark.parametrize("device", DEVICES)
def test_it_takes_what_the_docs_say(device, net, batches, tmp_path):
    prefix, flags = DEVICES[device]
    found(f"{prefix}-gcc", f"{prefix}-size")
    model = trainer(SIZES[net], "float32")
    export.to_c(model, tmp_path / "net.c", train="sgd", batches=batches)
    # AVR's own headers have a cast that -Wconversion dislikes.
    strict = [flag for flag in STRICT if "AT" not in device or flag != "-Wconversion"]
    run([f"{prefix}-gcc", *strict, "-Os", *flags, "-c", "net.c"], tmp_path)
    printed = run([f"{prefix}-size", "net.o"], tmp_path)
    text, data, bss = map(int, printed.splitlines()[1].split()[:3])
    said = re.search(r"RAM: .* = (\d+) bytes", (tmp_path / "net.c").read_text())
    assert data == 4 * model.parameters.size
    assert data + bss == int(said[1])
    assert text <= 1.1 * CODE[device][net][batches]


PROGRAM = """\
#include "net.c"
#ifdef __AVR__
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

static void put(char c)
{
    while (!(UCSR0A & 1 << UDRE0))
        ;
    UDR0 = (uint8_t)c;
}

static void begin(void)
{
    UCSR0B = 1 << TXEN0;
}

static void end(void)
{
    cli();
    sleep_enable();
    sleep_cpu();
}
#else
#include <stdio.h>
#define put putchar
#define begin()
#define end()
#endif

static uint32_t state = 1;

static float number(void)
{
    state = state * 1664525UL + 1013904223UL;
    return (float)((int)(state >> 24) - 128) / 64.0f;
}

int main(void)
{
    static REAL numbers[N_NUMBERS];
    REAL x[2], y[1];
    int i, k;
    for (i = 0; i < 1000; i++) {
        for (k = 0; k < 2; k++)
            x[k] = number();
        y[0] = number();
        net_train(x, y, 0.125f);
    }
    net_save(numbers);
    begin();
    for (i = 0; i < N_NUMBERS; i++) {
        for (k = (int)sizeof(REAL) - 1; k >= 0; k--) {
            int byte = ((unsigned char *)(numbers + i))[k];
            put("0123456789abcdef"[byte >> 4]);
            put("0123456789abcdef"[byte & 15]);
        }
        put('\\n');
    }
    end();
    return 0;
}
"""


def samples(dtype):
    """The samples that the program makes."""
    state, numbers = 1, []
    for _ in range(3000):
        state = (state * 1664525 + 1013904223) % 2**32
        numbers.append(((state >> 24) - 128) / 64)
    rows = np.array(numbers, dtype).reshape(1000, 3)
    return rows[:, :2], rows[:, 2]


def write_program(dtype, folder):
    """Write it, and return what it should print, with the options that it needs."""
    model = trainer([2, 4, 1], dtype)
    export.to_c(model, folder / "net.c", dtype=dtype, train="sgd", batches=False)
    (folder / "main.c").write_text(PROGRAM)
    with pytest.warns(UserWarning, match="the net cannot reach all targets"):
        model.fit(*samples(dtype), epochs=1)
    options = [f"-DREAL={'float' if dtype == 'float32' else 'double'}"]
    options.append(f"-DN_NUMBERS={model.parameters.size}")
    digits = model.parameters.astype(model.dtype.newbyteorder(">")).tobytes().hex()
    return re.findall("." * 2 * model.dtype.itemsize, digits), options


ARM = {
    "by integers": ["-mcpu=arm7tdmi", "-mthumb"],
    "by instructions": ["-mcpu=cortex-a7", "-mfpu=neon-vfpv4", "-mfloat-abi=hard"],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ARM)
def test_an_arm_gives_the_same_bits(kind, dtype, tmp_path):
    found("arm-none-eabi-gcc", "qemu-arm")
    ref, options = write_program(dtype, tmp_path)
    command = ["arm-none-eabi-gcc", "-std=c99", "-Os", *ARM[kind], *options]
    run([*command, "--specs=rdimon.specs", "main.c", "-o", "main.elf", "-lm"], tmp_path)
    assert run(["qemu-arm", "main.elf"], tmp_path).split() == ref


@pytest.mark.long
def test_an_avr_gives_the_same_bits(tmp_path):
    found("avr-gcc", "simavr")
    ref, options = write_program("float32", tmp_path)
    command = ["avr-gcc", "-std=c99", "-Os", "-mmcu=atmega328p", *options]
    run([*command, "main.c", "-o", "main.elf", "-lm"], tmp_path)
    printed = run(["simavr", "-m", "atmega328p", "-f", "16000000", "main.elf"], tmp_path)
    assert re.findall(r"\b[0-9a-f]{8}\b", re.sub(r"\x1b\[\d*m", "\n", printed)) == ref


def test_an_avr_has_no_doubles_and_the_file_says_so(tmp_path):
    found("avr-gcc")
    export.to_c(trainer([2, 4, 1], "float64"), tmp_path / "net.c", dtype="float64", train="sgd")
    command = ["avr-gcc", "-std=c99", "-Os", "-mmcu=atmega328p", "-c", "net.c"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode != 0
    assert "doubles must have 53 bits (not on an AVR)" in done.stderr


SKETCH = Path(__file__).parents[2] / "examples" / "arduino_xor"

# As much of Arduino's own headers as the sketch uses.
ARDUINO = """\
#pragma once
#include <stdio.h>
#include <string.h>
typedef unsigned char byte;

struct Port {
    void begin(long) {}
    int read() { return -1; }
    void print(const char *text) { printf("%s", text); }
    void print(double number, int digits) { printf("%.*f", digits, number); }
    void println(const char *text = "") { printf("%s\\n", text); }
};
static Port Serial;

struct Memory {
    byte bytes[1024];
    byte read(int at) { return bytes[at]; }
    void write(int at, byte value) { bytes[at] = value; }
    template <class T> void put(int at, const T &x) { memcpy(bytes + at, &x, sizeof x); }
    template <class T> void get(int at, T &x) { memcpy(&x, bytes + at, sizeof x); }
};
static Memory EEPROM;
"""
LOOP = """\
#include "EEPROM.h"
#include "arduino_xor.ino"

int main()
{
    setup();
    for (int i = 0; i < 12; i++)
        loop();
    return 0;
}
"""


def sketch(tmp_path):
    """Return a copy of the sketch's folder, with its net."""
    folder = tmp_path / "sketch"
    folder.mkdir()
    for name in ("arduino_xor.ino", "make_net.py"):
        shutil.copy(SKETCH / name, folder)
    runpy.run_path(str(folder / "make_net.py"))
    return folder


def test_the_sketch_of_the_examples_learns(tmp_path):
    found("g++")
    folder = sketch(tmp_path)
    (folder / "EEPROM.h").write_text(ARDUINO)
    (folder / "main.cpp").write_text(LOOP)
    run(["gcc", "-std=c99", "-O2", "-c", "xor.c"], folder)
    run(["g++", "-std=c++11", "-Wall", "-O2", "-I.", "main.cpp", "xor.o", "-lm", "-o", "x"], folder)
    *_, last = run(["./x"], folder).splitlines()
    _, a, b, c, d = map(float, last.split()[2:])
    assert max(a, d) < 0.1
    assert min(b, c) > 0.9


def test_the_sketch_fits_on_an_arduino_uno(tmp_path):
    found("avr-gcc", "avr-size")
    folder = sketch(tmp_path)
    (folder / "main.c").write_text('#include "xor.c"\nint main(void) { return 0; }\n')
    run(["avr-gcc", "-std=c99", "-Os", "-mmcu=atmega328p", "main.c", "-o", "x", "-lm"], folder)
    text, data, bss = map(int, run(["avr-size", "x"], folder).splitlines()[1].split()[:3])
    assert text + data < 32_256
    assert data + bss < 2_048
