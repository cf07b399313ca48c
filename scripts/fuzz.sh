#!/usr/bin/env bash
# Looks for bodies that the reader cannot bear, with libFuzzer; fails when it finds one, and says in which file it is.
#
#   scripts/fuzz.sh [SECONDS]     a minute by default
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh pkg-config zlib1g-dev
# A crash is libFuzzer's to report; with a backtrace of Swift's it would hang.
export SWIFT_BACKTRACE=enable=no
swift build -c release --package-path Fuzzing --sanitize=fuzzer --product BodyFuzzer -Xswiftc -parse-as-library
program=$(swift build -c release --package-path Fuzzing --sanitize=fuzzer --show-bin-path)/BodyFuzzer
corpus=Fuzzing/.build/corpus
findings=Fuzzing/.build/findings/
mkdir -p "$corpus" "$findings"
# To begin with: one of each kind.
printf '\0{"a":[1,-2.5e3,"\\u0041\\n",true,null]}' > "$corpus/value"
printf '\0[1,{"id":7},"x"]' > "$corpus/array"
printf '\014{"id":"a"}\n\r\n{"id":2}' > "$corpus/lines"
{ printf '\1'; printf '[1,2]' | gzip -c; } > "$corpus/gzip"
"$program" "$corpus" -max_total_time="${1:-60}" -max_len=65536 -rss_limit_mb=1024 -timeout=10 \
  -artifact_prefix="$findings" -print_final_stats=1 2>&1 | tail -n 25
