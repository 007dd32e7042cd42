#!/usr/bin/env bash
# Format and lint. Seconds: before every commit.
set -euo pipefail
. "$(dirname "$0")/steps.sh"
find_uv
[ -d .venv ] || uv sync --quiet

step format in_environment ruff format --check --exclude '*.md' .
step lint in_environment ruff check .
conclude
