#!/bin/sh
# Builds the documentation of the library into .build/docs, and fails at any warning, such as a link that leads nowhere.
#
#   scripts/docs.sh
set -eu
cd "$(dirname "$0")/.."
tools=$(dirname "$(readlink -f "$(command -v swift)")")
symbols=.build/symbols

swift build --target Batching
rm -rf "$symbols" .build/docs
mkdir -p "$symbols"
# From the module as it has been built, so that the symbols are there whether or not anything had to be compiled.
"$tools/swift-symbolgraph-extract" -module-name Batching -I "$(swift build --show-bin-path)/Modules" \
  -target "$(swift -print-target-info | sed -n 's/.*"triple" *: *"\(.*\)".*/\1/p' | head -n 1)" \
  -minimum-access-level public -emit-extension-block-symbols -skip-inherited-docs -skip-synthesized-members \
  -output-dir "$symbols"
"$tools/docc" convert Sources/Batching/Batching.docc --additional-symbol-graph-dir "$symbols" \
  --fallback-display-name Batching --fallback-bundle-identifier swift-batching.Batching \
  --warnings-as-errors --output-path .build/docs
echo "The documentation is in .build/docs; to look at it: python3 -m http.server --directory .build/docs"
