#!/bin/sh
# Counts instructions and allocations of a batch on its whole way, and fails when one has become more than 10 % dearer than
# Benchmarks/hot-path.txt says. Counts can be repeated where times cannot: half a per cent is the most they differ by.
#
#   scripts/hot-path.sh            compare
#   scripts/hot-path.sh --record   write down what is measured now
set -eu
cd "$(dirname "$0")/.."
scripts/install.sh valgrind
record=Benchmarks/hot-path.txt
swift build -c release --package-path Benchmarks --product HotPath
program=$(swift build -c release --package-path Benchmarks --show-bin-path)/HotPath
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# number PATTERN: what follows the pattern in valgrind's log.
number() { sed -n "s/.*$1 *\([0-9,]*\).*/\1/p" "$logs/log" | head -n 1 | tr -d ,; }

instructions() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$logs/log" "$program" "$1" "$2"
  number 'refs:'
}

allocations() {
  valgrind --tool=memcheck --log-file="$logs/log" "$program" "$1" "$2"
  number 'heap usage:'
}

# The difference of two runs has no start and no end of the process in it.
per_batch() {
  few=$("$1" 5 "$2")
  many=$("$1" 15 "$2")
  awk -v few="$few" -v many="$many" 'BEGIN { printf "%.2f", (many - few) / 10000 }'
}

failed=0
[ "${1:-}" = --record ] && grep '^#' "$record" > "$logs/record"
for size in 8 512; do
  instructions=$(per_batch instructions "$size")
  allocations=$(per_batch allocations "$size")
  if [ "${1:-}" = --record ]; then
    echo "$size $instructions $allocations" | tee -a "$logs/record"
    continue
  fi
  awk -v size="$size" -v instructions="$instructions" -v allocations="$allocations" '
    $1 == size {
      known = 1
      printf "batch of %d: %.0f instructions (%.0f), %.2f allocations (%.2f)\n", size, instructions, $2, allocations, $3
      if (instructions > $2 * 1.1 || allocations > $3 * 1.1) { print "more than 10 % dearer than " FILENAME " says"; exit 1 }
    }
    END { if (!known) { print FILENAME " says nothing of batches of " size; exit 1 } }
  ' "$record" || failed=1
done
if [ "${1:-}" = --record ]; then cp "$logs/record" "$record"; fi
exit $failed
