#!/usr/bin/env bash
# Format, lint and the tests of the packages, but those that start or kill processes or work for
# seconds. Under two minutes on two cores.
set -euo pipefail
. "$(dirname "$0")/steps.sh"
find_uv
uv sync --quiet

step format in_environment ruff format --check --exclude '*.md' .
step lint in_environment ruff check .
step requirements in_environment python scripts/check_requirements.py
step tests in_environment pytest -q -n auto -m "not slow and not soak" packages examples
conclude
