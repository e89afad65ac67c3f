#!/bin/sh
# Installs the pinned torch: the CPU build unless this machine has an NVIDIA GPU. Usage: install_torch.sh PYTHON
set -eu
python=$1
version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
"$python" -c "import importlib.metadata as m; raise SystemExit(m.version('torch').split('+')[0] != '$version')" 2>/dev/null && exit 0
pip() { "$python" -m pip --disable-pip-version-check install --quiet "$@"; }

if [ "$(uname -s)" != Linux ] || { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; }; then
    pip "torch==$version"
    exit 0
fi
# The CPU index first; where only a package index is reachable, whatever that one has.
pip --timeout 10 --retries 0 --index-url https://download.pytorch.org/whl/cpu "torch==$version" 2>/dev/null && exit 0
echo "PyTorch's CPU index cannot be reached; taking torch $version from the package index." >&2
pip "torch==$version"
