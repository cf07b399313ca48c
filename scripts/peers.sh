#!/bin/sh
# Builds the peers that `make bench` compares with and that are not written in Swift, into Benchmarks/.build/peers. One whose tools
# cannot be had is left out, and named as missing in the results.
cd "$(dirname "$0")/.." || exit 1
out=$PWD/Benchmarks/.build/peers
mkdir -p "$out"
rm -f "$out/channels" "$out/disruptor"

if scripts/install.sh golang-go && (cd Benchmarks/Peers/Go && go build -o "$out/channels" .); then
  echo "Go: $(go version)"
else
  echo "The channel design in Go is left out: golang-go could not be installed, or did not build it."
fi

jar=/usr/share/java/disruptor.jar
if scripts/install.sh default-jdk-headless libdisruptor-java &&
  javac -cp "$jar" -d "$out" Benchmarks/Peers/Disruptor/Disruptor.java; then
  printf '#!/bin/sh\nexec java -cp %s:%s Disruptor\n' "$jar" "$out" > "$out/disruptor"
  chmod +x "$out/disruptor"
  echo "Java: $(java -version 2>&1 | head -n 1)"
else
  echo "The Disruptor is left out: default-jdk-headless and libdisruptor-java could not be installed, or did not build it."
fi
exit 0
