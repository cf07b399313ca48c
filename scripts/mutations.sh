#!/usr/bin/env bash
# Plants one mistake after the other in the library, and looks whether something notices it.
#
#   scripts/mutations.sh            all of Tests/Mutations; takes an hour or two
#   scripts/mutations.sh NAME...    some of them
#
# Each mutation is a patch whose first line says what is wrong. It is applied to a copy of the library. Then come the
# exhaustive cases, the simulation, and the other tests, until one of them fails, crashes or does not come to
# an end. The exit code is not 0 when a mutation is not noticed, or does not apply any more.
#
# MUTATIONS_SCRATCH names a folder to keep between runs, so that only what has changed is built.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export LIBRARY_ONLY=1

limit=${MUTATIONS_LIMIT:-600} # seconds for one run of tests
if [ -n "${MUTATIONS_SCRATCH:-}" ]; then
  scratch=$MUTATIONS_SCRATCH
  mkdir -p "$scratch"
else
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
fi
log=$scratch/log.txt

rm -rf "$scratch/Sources" "$scratch/Tests"
mkdir -p "$scratch/Sources" "$scratch/Tests"
cp -R "$root/Sources/Batching" "$root/Sources/BatchingTesting" "$scratch/Sources"
cp -R "$root/Tests/BatchingTests" "$scratch/Tests"
cp "$root/Package.swift" "$scratch"

cd "$scratch" || exit 2
echo "Building the library without a mistake in it, in $scratch"
if ! swift build --build-tests >"$log" 2>&1; then
  tail -20 "$log"
  exit 2
fi

# Whether the tests notice it: they fail, crash, or do not come to an end.
noticed() { ! timeout --kill-after=5 "$limit" swift test --skip-build "$@" >"$log" 2>&1; }

if [ $# -eq 0 ]; then
  names=()
  for file in "$root"/Tests/Mutations/*.patch; do names+=("$(basename "$file" .patch)"); done
else
  names=("$@")
fi

bad=0
printf '%-32s %-11s %6s  %s\n' mutation 'noticed by' time 'what is wrong'
for name in "${names[@]}"; do
  file=$root/Tests/Mutations/$name.patch
  begin=$SECONDS
  if ! patch --batch --forward --no-backup-if-mismatch -p1 <"$file" >"$log" 2>&1; then
    result='NO PATCH'
  elif ! swift build --build-tests >"$log" 2>&1; then
    result='NO BUILD'
  elif noticed --filter Exhaustive; then
    result=exhaustive
  elif noticed --filter CoreSimulation; then
    result=simulation
  elif noticed --skip 'Exhaustive|CoreSimulation'; then
    result=tests
  else
    result='NOTHING'
  fi
  case $result in exhaustive | simulation | tests) ;; *) bad=$((bad + 1)) ;; esac
  printf '%-32s %-11s %5ss  %s\n' "$name" "$result" "$((SECONDS - begin))" "$(head -1 "$file" 2>/dev/null)"
  # As it was; only what differs, so that nothing else is built again.
  (cd "$root/Sources/Batching" && find . -name '*.swift') | while read -r source; do
    cmp -s "$root/Sources/Batching/$source" "Sources/Batching/$source" ||
      cp "$root/Sources/Batching/$source" "Sources/Batching/$source"
  done
  find Sources \( -name '*.rej' -o -name '*.orig' \) -delete
done
echo "${#names[@]} mutations, $bad not noticed"
exit $((bad > 0))
