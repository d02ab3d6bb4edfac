# `make` lists the targets. Results: bin/ (programs), .onebox/ (the local cluster), .cache/ (RocksDB for releases).

MAINS   := ./metasvc/pegasus-meta ./shard/pegasus-replica ./conf/pegasus-onebox ./perf/pegasus-bench ./clientlib/pegasus-shell
ONEBOX  := bin/pegasus-onebox
FOLDERS := clientlib conf consensus engine metasvc netcore perf shard
INTEROP := clientlib/interop clientlib/interop/ycsb
BROWSER := metasvc/console/browser
MODULES := $(INTEROP) clientlib/interop/versus perf/official $(BROWSER)

# Arguments for one's own: make bench BENCH="--read 0.5 --conns 16", make onebox ONEBOX_FLAGS="--replicas 1", make test RUN=TestX,
# make faults SECONDS=600,
# make console-test SHOTS=/tmp/shots.
BENCH        ?= --conns 8 --depth 16 --read 0.5 --value-size 100
ONEBOX_FLAGS ?=
RUN          ?=
SECONDS      ?= 120
TEST_TIMEOUT ?= 10m
SIZE         ?= 1024
VERSUS       ?=
SHOTS        ?=
SUITE        ?= bin/suite
BASE         ?= HEAD
PERF         ?=

.DEFAULT_GOAL := help
.PHONY: help deps build release test sim planted check interop console-test faults bench perf perf-micro bench-clients bench-limit \
	bench-official bench-peak bench-suite bench-groups bench-learn onebox onebox-stop onebox-status clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install what is missing to build: a C++ compiler, RocksDB, Go modules
	@sh .ci/deps

build: deps ## build the programs into bin/
	@mkdir -p bin
	go build -o bin/ $(MAINS)

release: ## build the programs into bin/release/ with an optimised RocksDB linked in (the first time takes long)
	@sh .ci/deps release
	@mkdir -p bin/release
	@flags=$$(sh engine/rocks/build-release.sh .cache/rocksdb-release) && eval "$$flags" && set -x && \
		go build -tags release,grocksdb_clean_link -trimpath -o bin/release/ $(MAINS)

test: ## vet, then all tests: packages, real clusters, foreign clients
	@sh .ci/deps test
	go vet ./...
	go test -timeout $(TEST_TIMEOUT) $(if $(RUN),-run $(RUN)) ./...
	@$(MAKE) --no-print-directory planted interop

sim: ## fresh seeds of the cluster simulator for SECONDS of wall time; a failing seed tells how to replay it
	PACSIM_SECONDS=$(SECONDS) go test -count=1 -v -timeout $$(( $(SECONDS) + 600 ))s -run TestFreshSeeds ./consensus/pacsim

planted: ## bugs planted into the replication core: the simulator must find each, and each of its checkers one alone
	go test -tags pacbugs -timeout $(TEST_TIMEOUT) -run 'TestPlantedBugs|TestEveryChecker' ./consensus/pacsim

check: deps ## formatting, vet, import arrows, checksums of modules
	@bad=$$(gofmt -l $(FOLDERS)) || exit 1; \
		if [ -n "$$bad" ]; then echo "gofmt -w these files:"; echo "$$bad"; exit 1; fi
	go vet ./...
	@# go mod verify has no checksum for this module where another one takes it from its folder.
	@for m in $(MODULES); do \
		(cd $$m && echo "go vet $$m" && go vet ./... && { grep -q '^replace pegasus ' go.mod || go mod verify; }) || exit 1; \
	done
	go mod verify
	go test -count=1 -run 'TestImportArrows|TestRulesCanFail|TestClientIsStandalone|TestTopLevel' ./conf

interop: build ## Apache Pegasus' own Go client and go-ycsb, each against a real cluster of its own
	@for m in $(INTEROP); do \
		echo "go test $$m"; \
		$(ONEBOX) --shards 2 run -- sh -c 'cd '$$m' && go test -count=1 -timeout $(TEST_TIMEOUT) $(if $(RUN),-run $(RUN)) ./...' || exit 1; \
	done

console-test: build ## the web console of a real cluster in headless Chromium; SHOTS=FOLDER keeps pictures
	@sh .ci/deps console
	@PEGASUS_BIN=$(CURDIR)/bin PEGASUS_SHOTS=$(SHOTS) $(ONEBOX) --shards 2 run -- sh -c \
		'cd $(BROWSER) && go test -count=1 -timeout $(TEST_TIMEOUT) $(if $(RUN),-run $(RUN)) ./...'

faults: deps ## every fault scenario on real clusters, random faults for SECONDS, fail-over times
	PEGASUS_FAULTS_SECONDS=$(SECONDS) go test -count=1 -v -timeout $$(($(SECONDS) + 900))s \
		$(if $(RUN),-run $(RUN)) ./clientlib/faults

bench: build ## put load on a cluster of its own (BENCH="..." for other loads)
	$(ONEBOX) --debug run -- sh -c 'exec bin/pegasus-bench --metas "$$PEGASUS_METAS" --onebox-dir "$$PEGASUS_ONEBOX_DIR" --table temp $(BENCH)'

bench-clients: build ## this client against the official Go client on one cluster (VERSUS="..." for other loads, -h explains)
	cd clientlib/interop/versus && go build -o $(CURDIR)/bin/versus .
	$(ONEBOX) --free-ports --shards 2 run -- sh -c 'exec bin/versus $(VERSUS)'

perf: deps ## the regression gate: fails when the working tree is slower than BASE (default HEAD)
	sh .ci/perf gate $(BASE) $(PERF)

perf-micro: deps ## micro benchmarks of the working tree beside those of BASE, by benchstat
	sh .ci/perf micro $(BASE) $(PERF)

bench-limit: release ## what gets and sets cost, beside what their parts cost in C and C++, release build
	@flags=$$(sh engine/rocks/build-release.sh .cache/rocksdb-release) && eval "$$flags" && \
		bin/release/pegasus-bench --limit --conns 1 --depth 64 --records 200000 --key-size 32 --duration 3s --floor-cxxflags "$$CGO_CXXFLAGS" \
			--floor-ldflags "$$CGO_LDFLAGS -lrocksdb -lz -lbz2 -lsnappy -llz4 -lzstd -ldl -lpthread"

bench-official: release ## get and set by 1, 16, 64 callers of Apache Pegasus' own Go client, beside the least C servers and redis-benchmark
	cd perf/official && go build -o ../../bin/release/ .
	bin/release/pegasus-onebox --debug run -- sh -c \
		'exec bin/release/pegasus-official --metas "$$PEGASUS_METAS" --onebox-dir "$$PEGASUS_ONEBOX_DIR" --floor --rounds 4 --duration 3s'

bench-peak: release ## gets, puts and incrs with many in flight, with one and two event loops per server, release build
	bin/release/pegasus-bench --peak --conns 16 --depth 32 --key-size 32 --duration 3s --warmup 500ms

bench-suite: release ## every workload, depth, rate, value size; report.html and report.json in SUITE, release build
	bin/release/pegasus-bench --suite $(SUITE) --duration 8s

bench-groups: release ## puts to groups of one and of three, at several depths, release build
	bin/release/pegasus-bench --groups --conns 1 --duration 6s

bench-learn: release ## what clients notice while a node whose disks are gone learns everything again (SIZE in MiB)
	bin/release/pegasus-bench --learn --size $(SIZE) --value-size 4096 --conns 1 --depth 8

onebox: build ## start the local cluster: 3 metas, 3 replica servers, tables temp and stat
	@$(ONEBOX) $(ONEBOX_FLAGS) start

onebox-stop: ## stop the local cluster; its data stays
	@if [ -x $(ONEBOX) ]; then $(ONEBOX) stop; fi

onebox-status: build ## show what of the local cluster runs
	@$(ONEBOX) status

clean: onebox-stop ## remove bin/ and .onebox/; .cache/ stays, for it takes long to build
	rm -rf bin .onebox
