#!/bin/sh
# Installs the pinned torch. Usage: install_torch.sh PYTHON [cpu|cuda]
# Without the second word: the CPU build unless this machine has an NVIDIA GPU. An image is built where there is none.
set -eu
python=$1
kind=${2:-}
case "$kind" in
    "" | cpu | cuda) ;;
    *)
        echo "torch is installed for cpu or cuda, not for '$kind'." >&2
        exit 1
        ;;
esac
version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
"$python" -c "import importlib.metadata as m; raise SystemExit(m.version('torch').split('+')[0] != '$version')" 2>/dev/null && exit 0
pip() { "$python" -m pip --disable-pip-version-check install --quiet "$@"; }

if [ -z "$kind" ]; then
    kind=cpu
    [ "$(uname -s)" = Linux ] || kind=cuda
    if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; then kind=cuda; fi
fi
# What the package index has is the CUDA build on Linux, and the right one elsewhere.
if [ "$kind" = cuda ]; then
    pip "torch==$version"
    exit 0
fi
# The CPU index first; where only a package index is reachable, whatever that one has.
pip --timeout 10 --retries 0 --index-url https://download.pytorch.org/whl/cpu "torch==$version" 2>/dev/null && exit 0
echo "PyTorch's CPU index cannot be reached; taking torch $version from the package index." >&2
pip "torch==$version"
