#!/usr/bin/env bash
# newlib 3.3.0 for ARM (Debian 12's libnewlib-arm-none-eabi 3.3.0-1.3+deb12u1): fma rounds twice.
#
# One would guess: C99's fma(x, y, z) rounds x y + z once, on processors without the instruction too.
# That is what it is for: with x = 1 + 2^-30, the fma of x x and -(1 + 2^-29) is the 2^-60 that the
# product loses, which is how double-double arithmetic finds rounding errors.
# It does: on ARM cores without floating point, fma of doubles is x * y + z with two roundings. The
# example gives 0. fmaf is computed in double, which is right for nearly all floats.
#
# It needs Debian 12 (apt-get, dpkg) on x86-64. It unpacks a compiler and an emulator into a
# temporary folder and installs nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq gcc-arm-none-eabi=15:12.2.rel1-1 binutils-arm-none-eabi \
    libnewlib-arm-none-eabi=3.3.0-1.3+deb12u1 libnewlib-dev=3.3.0-1.3+deb12u1 qemu-user 2>&1 |
    grep -v unsandboxed || true
for package in *.deb; do dpkg -x "$package" .; done

cat > fma.c <<'C'
#include <math.h>
#include <stdio.h>

int main(void)
{
    volatile double x = 1.0 + 0x1p-30, z = -(1.0 + 0x1p-29);
    volatile double found = fma(x, x, z);
    printf("%s\n", found == 0x1p-60 ? "2^-60" : found == 0.0 ? "0" : "another number");
    return 0;
}
C
newlib=$folder/usr/lib/arm-none-eabi/newlib
usr/bin/arm-none-eabi-gcc -O2 -mcpu=arm7tdmi --specs="$newlib/rdimon.specs" \
    -isystem usr/include/newlib -B "$newlib" -L "$newlib" fma.c -lm -o fma
found=$(usr/bin/qemu-arm ./fma)
gcc -O2 -ffp-contract=off fma.c -lm -o fma-here 2>/dev/null && here=$(./fma-here) || here="no gcc here"
echo "newlib on ARM: $found; C library of this machine: $here"
[ "$found" = 0 ]
