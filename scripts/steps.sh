# Sourced by the quality checks: finds uv, runs steps, tells at the end which failed.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# uv is taken from PATH, else installed into a virtual environment of its own: that also works
# where the system Python is externally managed (PEP 668).
find_uv() {
    if ! command -v uv >/dev/null; then
        if [ ! -x .uv/bin/uv ]; then
            python3 -m venv .uv
            .uv/bin/pip install --quiet uv
        fi
        PATH="$PWD/.uv/bin:$PATH"
        export PATH
    fi
}

failed_steps=()

# step NAME COMMAND…: runs it, shows its output only when it fails, and goes on.
step() {
    local name=$1 log started took
    shift
    log=$(mktemp)
    started=$SECONDS
    if "$@" >"$log" 2>&1; then
        took=$((SECONDS - started))
        printf 'ok      %-28s %4d s\n' "$name" "$took"
    else
        took=$((SECONDS - started))
        printf 'FAILED  %-28s %4d s\n' "$name" "$took"
        sed 's/^/        /' "$log"
        failed_steps+=("$name")
    fi
    rm -f "$log"
}

# The last line of a check: fails if a step did.
conclude() {
    if [ ${#failed_steps[@]} -gt 0 ]; then
        printf '\n%d failed:' "${#failed_steps[@]}"
        printf ' %s;' "${failed_steps[@]}"
        printf '\n'
        exit 1
    fi
    printf '\nall good, %d s\n' "$SECONDS"
}

in_environment() {
    uv run --quiet --no-sync "$@"
}
