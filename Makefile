# `make run` and `make test` work on a fresh Debian that has Swift; both install what they need.
.PHONY: run test torture fuzz docs tsan mutations format lint bench load load-log load-kafka capacity adaptation hot-path soak release examples tools test-tools test-kafka

FROM ?= http://127.0.0.1:8080
TO ?= sqlite:messages.db
sources = Package.swift Sources Tests Examples/Package.swift Examples/Sources Benchmarks/Package.swift Benchmarks/Sources Fuzzing/Package.swift Fuzzing/Sources/BodyFuzzer/Fuzzer.swift

# Takes messages over HTTP and stores them in SQLite, until Ctrl-C.
run: tools
	@echo "swift build -c release --product aggregator    (the first time, several minutes)"
	@swift build -c release --product aggregator
	@echo
	@echo "Try it from another terminal:"
	@echo "  curl -H 'Content-Type: application/json' -d '{\"hello\":\"world\"}' $(FROM)/v1/messages"
	@echo "  curl -H 'Content-Type: application/x-ndjson' --data-binary @messages.ndjson $(FROM)/v1/messages"
	@echo
	@exec "$$(swift build -c release --show-bin-path)/aggregator" --from $(FROM) --to $(TO)

# All tests but one; those of the program start the program. The long ones run by themselves, so that the others are not kept waiting.
# Those that start servers and programs are few at a time: on two cores all of them at once would starve each other.
long = CoreSimulation|Exhaustive
few = --experimental-maximum-parallelization-width
# With members that come and go the mock cluster of Kafka ends itself in every other run (an assertion of librdkafka's,
# rdkafka_mock_cgrp.c): in make torture only.
mocked = TortureTests.KafkaTests
test: export ENGINES = nats,kafka
test: tools test-tools
	swift build --build-tests
	swift test --skip-build --filter '^BatchingTests' --skip '$(long)'
	swift test --skip-build --filter '^Aggregator' $(few) 4
	swift test --skip-build --filter '^NATSLogTests' $(few) 2
	swift test --skip-build --filter '^KafkaLogTests' $(few) 4
	swift test --skip-build --filter TortureTests --skip '$(mocked)' --no-parallel
	swift test --skip-build --filter '$(long)'

# The tests of Kafka, on librdkafka's mock cluster; on a real one: make test-kafka KAFKA_BOOTSTRAP=host:9092
test-kafka: tools
	@scripts/install.sh librdkafka-dev kcat
	ENGINES=kafka swift test --filter KafkaLogTests $(few) 4

# The library's tests under ThreadSanitizer. What is left out runs on one thread, or is pure.
tsan: tools
	TSAN_OPTIONS="halt_on_error=1 suppressions=$(CURDIR)/Tests/tsan.supp" LIBRARY_ONLY=1 \
	  swift test --sanitize=thread --scratch-path .build-tsan --skip '$(long)|SimulationTests|DocumentedExample'

# Plants mistakes in the library, one by one; each has to be noticed.
mutations: tools
	scripts/mutations.sh

format:
	swift format --in-place --recursive $(sources)

lint:
	swift format lint --strict --recursive $(sources)

# The documentation of the library, into .build/docs; fails at any warning.
docs: tools
	scripts/docs.sh

# What handing over a message costs, beside appending it to an array and beside others; writes Benchmarks/RESULTS.md. About two
# minutes; a part of it: make bench BENCH='--only trySend'
BENCH ?= --write
bench: tools
	scripts/peers.sh
	swift run -c release --package-path Benchmarks Suite $(BENCH)

# The program on SQLite and on PostgreSQL under real clients: single messages against batch size 1, and bodies of a thousand lines.
# Ten minutes a part, into the page: make load SECONDS=600 LOAD='--write docs/speed-of-the-program.md'; others: docs/speed-of-the-program.md
load: SECONDS = 10
load: tools
	@scripts/install.sh sqlite3 postgresql
	swift build -c release --product aggregator
	swift run -c release --package-path Benchmarks Load "$$(swift build -c release --show-bin-path)/aggregator" \
	  --seconds $(SECONDS) $(LOAD)

# Edges, JetStream and storing members: by servers and members, and against batch size 1. Some minutes; longer:
# make load-log LOG='1000000 1,3 1,2,3 3' (messages, servers, members, rounds)
LOG ?= 100000 1,3 1,2,3 1
load-log: tools
	@scripts/install.sh curl libnats-dev nats-server postgresql
	ENGINES=nats swift build -c release --product aggregator
	swift run -c release --package-path Benchmarks LoadLog "$$(swift build -c release --show-bin-path)/aggregator" $(LOG)

# The same with Kafka's mock cluster, which is no broker: it shows what the program takes. It keeps few messages, and several
# members take half a minute and more to join or to leave, so there is one.
load-kafka: LOG = 60000 1 1 5
load-kafka: tools
	@scripts/install.sh curl librdkafka-dev postgresql
	ENGINES=kafka swift build -c release --product aggregator
	ENGINES=kafka swift build -c release --product kafka-mock
	swift run -c release --package-path Benchmarks LoadLog "$$(swift build -c release --show-bin-path)/aggregator" $(LOG) \
	  "$$(swift build -c release --show-bin-path)/kafka-mock"

# What loads would take that no machine here can bear, by measured costs: make capacity CAPACITY='bytes=1000 2000000'; --help tells all.
CAPACITY ?=
capacity: tools
	@swift run -c release --package-path Benchmarks Capacity $(CAPACITY)

# An aggregator with an AdaptationPolicy before a backend whose knee moves; draws Benchmarks/plots/adaptation.svg. 75 seconds.
adaptation: tools
	swift run -c release --package-path Benchmarks Adaptive

# The program under kill -9, outages, hostile input and load, at full size, about half an hour; a little of it is in make test.
torture: export ENGINES = nats,kafka
torture: tools test-tools
	swift build -c release --product aggregator
	swift build --build-tests
	TORTURE=full TORTURE_PROGRAM="$$(swift build -c release --show-bin-path)/aggregator" \
	  swift test --skip-build --filter TortureTests --no-parallel

# Looks for bodies that the program's reader cannot bear; an hour: make fuzz SECONDS=3600
fuzz: tools
	scripts/fuzz.sh $(SECONDS)

# Counts instructions and allocations of a batch, and fails when they have grown by more than 10 %.
hot-path: tools
	scripts/hot-path.sh
	scripts/retains.sh

# Random load on real threads: the books have to balance, and memory to stay flat. An hour of it: make soak SECONDS=3600
SECONDS ?= 60
soak: tools
	swift run -c release --package-path Benchmarks Soak $(SECONDS)

# The program with the Swift runtime in it: it needs no Swift where it runs.
release: tools
	swift build -c release --product aggregator --static-swift-stdlib
	@mkdir -p dist
	@cp "$$(swift build -c release --static-swift-stdlib --show-bin-path)/aggregator" dist/aggregator
	@strip dist/aggregator
	@ls -l dist/aggregator

examples: tools
	swift build --package-path Examples

tools:
	@command -v swift >/dev/null || { echo "Swift 6.3 or later is needed: https://www.swift.org/install"; exit 1; }
	@scripts/install.sh libpq-dev libsqlite3-dev pkg-config zlib1g-dev

# What the tests need beside: a browser for the page, a database server, certificates, the logs and their clients.
test-tools:
	@scripts/install.sh chromium chromium-driver kcat libnats-dev librdkafka-dev nats-server openssl postgresql
