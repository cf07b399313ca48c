#!/bin/sh
# Looks in the generated code for a retain that was put off until after the lock was released, when another thread may have let go
# of the object: a mistake of the optimiser's that `SpinLock.unlock` is written to prevent, and that no debug build shows.
#
#   scripts/retains.sh             in Soak, which sends objects and has keys that are compared outside the lock
#   scripts/retains.sh PROGRAM     in another program, built with -c release for x86-64
set -eu
cd "$(dirname "$0")/.."
if [ "$(uname -m)" != x86_64 ]; then
  echo "the code of $(uname -m) is not read: nothing was checked"
  exit 0
fi
scripts/install.sh binutils
program=${1:-}
if [ -z "$program" ]; then
  swift build -c release --package-path Benchmarks --product Soak
  program=$(swift build -c release --package-path Benchmarks --show-bin-path)/Soak
fi

# From the store that releases the lock on, as far as the code runs straight on. Two functions retain there what they never change.
objdump -d --no-show-raw-insn "$program" | awk '
  /^[0-9a-f]+ <.*>:$/ { name = substr($2, 2, length($2) - 3); left = 0; next }
  /movl +\$0x0,(0x0)?\(%r[a-z0-9]+\)$/ { releases += 1; left = 14; next }
  left > 0 && /call .*[rR]etain/ && name !~ /8Batching4CoreC(4work|16offerHoldingLock_)/ {
    print "a retain behind the release of a lock: " name
    found = 1
  }
  left > 0 { left = /\t(call|ret|jmp)/ ? 0 : left - 1 }
  END {
    if (releases < 50) { print "only " releases + 0 " releases of a lock were recognised: has the code become another?"; exit 1 }
    if (found) exit 1
    print releases " releases of a lock, no retain behind one"
  }
'
