#!/bin/bash
# Write requirements.lock anew: everything that a checkout needs, by hash, for Python 3.11 and up.
#
# One file serves all Pythons: ansible-core forks by itself (2.19 below 3.12, the newest above).
# The hashes are those of every platform, so resolve against a complete index. Which one that is
# is the business of the machine (UV_DEFAULT_INDEX); no index, host or path may appear in the
# file, and a test looks. Arguments go to `uv pip compile`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    [ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet uv
    uv=.venv/bin/uv
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$uv" pip compile pyproject.toml \
    --extra rehearsal --extra images --group dev \
    --universal --python-version 3.11 \
    --generate-hashes --no-header --no-annotate --no-config --quiet "$@" \
    --output-file "$work/lock"

{
    echo "# Every package that a checkout needs, by hash. Written by scripts/lock.sh; do not edit."
    cat "$work/lock"
} >"$work/whole"
cp "$work/whole" .requirements.lock.new
mv .requirements.lock.new requirements.lock
