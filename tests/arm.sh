#!/usr/bin/env bash
# `jitprop verify` and a sample of the tests on 64-bit ARM, which qemu emulates: `make arm`.
#
# It needs Debian on x86-64 and a Python with jitprop's dependencies, and no root. Everything that it
# downloads goes into .arm: qemu, Debian's Python for arm64, and the wheels that pip installs there.
# What it says is in .arm/log.txt, too.
set -euo pipefail
cd "$(dirname "$0")/.."
host=$(realpath --no-symlinks "${1:-.venv/bin/python}")
sources=$PWD home=$PWD/.arm
mkdir -p "$home"/{apt/lists/partial,apt/cache/archives/partial,debs}
exec > >(tee "$home/log.txt") 2>&1

# Packages are unpacked, not installed, so this system stays as it is.
cat > "$home/apt.conf" <<END
Dir::State "$home/apt";
Dir::State::lists "$home/apt/lists";
Dir::State::status "/dev/null";
Dir::Cache "$home/apt/cache";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
END
export APT_CONFIG=$home/apt.conf
if [ ! -e "$home/unpacked" ]; then
    apt-get update -qq
    python=$(apt-cache show python3-minimal:arm64 | grep -o 'python3\.[0-9]*' | head -1)
    needed=$(apt-cache depends --recurse --important \
        "$python-minimal:arm64" "lib$python-stdlib:arm64" libstdc++6:arm64 | grep '^[a-z].*:arm64$')
    (cd "$home/debs" && apt-get download -qq qemu-user-static:amd64 $needed)
    for package in "$home"/debs/*_arm64.deb; do dpkg -x "$package" "$home/root"; done
    for package in "$home"/debs/qemu*.deb; do dpkg -x "$package" "$home/qemu"; done
    # A script in Python's place starts the emulator, so that tests can start processes, too.
    mv "$home/root/usr/bin/$python" "$home/root/usr/bin/$python.arm64"
    cat > "$home/root/usr/bin/$python" <<END
#!/bin/sh
exec "$home/qemu/usr/bin/qemu-aarch64-static" -L "$home/root" -0 "$home/root/usr/bin/$python" \\
    "$home/root/usr/bin/$python.arm64" "\$@"
END
    chmod +x "$home/root/usr/bin/$python"
    echo "$python" > "$home/unpacked"
fi
python=$(cat "$home/unpacked")
arm=$home/root/usr/bin/$python

# The same versions as here.
version() { "$host" -c "from importlib.metadata import version; print('$1==' + version('$1'))"; }
if [ ! -e "$home/site/ready" ]; then
    rm -rf "$home/site"
    "$host" -m pip --disable-pip-version-check install --quiet --target "$home/site" \
        --implementation cp --python-version "${python#python}" --only-binary :all: \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
        "$(version numba)" "$(version numpy)" "$(version scikit-learn)" \
        safetensors threadpoolctl pytest mpmath
    touch "$home/site/ready"
fi

# The code for ARM is made here: emulated, compiling takes twenty times as long. It is made of a
# copy, so an edit of the sources meanwhile changes nothing.
rm -rf "$home/jitprop" "$home/own"
mkdir "$home/jitprop"
cp -r pyproject.toml src kernels tests examples "$home/jitprop"
cd "$home/jitprop"
export PYTHONPATH=$home/jitprop/src:$home/jitprop/kernels PYTHONDONTWRITEBYTECODE=1
echo "$(date -u '+%-d %B %Y'), $(git -C "$sources" rev-parse --short HEAD)"
"$home/qemu/usr/bin/qemu-aarch64-static" --version | head -1
"$host" kernels/other_processors.py "$home/cache"
PYTHONPATH=$PYTHONPATH:$home/site

verify='import sys; from jitprop.cli import verify; sys.exit(verify.main(timed=False))'
for cpu in generic neoverse-n1 neoverse-v1 apple-m1; do
    echo "== code for $cpu"
    NUMBA_CACHE_DIR=$home/cache NUMBA_CPU_NAME=$cpu NUMBA_CPU_FEATURES='' "$arm" -c "$verify"
done

echo "== code for cortex-a72, compiled by numba on ARM: the first route through the kernels"
lanes='
from jitprop.proof import nets, published
expected = published.read().hashes
found = list(published.computed(net for net in nets.table() if net.kind == "lanes"))
equal = sum(one == expected[net.name] for net, one in found)
print(f"{equal} of {len(found)} nets gave the published bits")
raise SystemExit(equal < len(found))
'
NUMBA_CACHE_DIR=$home/own NUMBA_CPU_NAME=cortex-a72 NUMBA_CPU_FEATURES='' "$arm" -c "$lanes"

echo "== a sample of the tests"
# conftest.py takes this folder for NUMBA_CACHE_DIR. Comparisons of the backends are left out: what
# changes from processor to processor is the sums of NumPy's BLAS.
JITPROP_TESTS_CACHE=$home/cache NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES='' "$arm" -m pytest -q \
    --no-header -p no:cacheprovider -m 'not long' -k 'not custom and not backends_agree' \
    tests/test_trainer.py tests/test_optimizers.py tests/test_losses.py \
    tests/test_numbers_of_python.py
