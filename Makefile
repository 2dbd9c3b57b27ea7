# fleetmend: what a developer types. Everything here also works by hand; .ci/run runs the same and more.

GO        ?= go
PKG       ?= ./...
FUZZTIME  ?= 20s
BENCHTIME ?= 1s
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT    ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
DATE      ?= $(shell git log -1 --format=%cI 2>/dev/null)
CLI       := github.com/fleetmend/fleetmend/cmd/internal/cli
LDFLAGS   := -s -w -X $(CLI).version=$(VERSION) -X $(CLI).commit=$(COMMIT) -X $(CLI).date=$(DATE)

export CGO_ENABLED ?= 0

.PHONY: build release-agents test test-long race lint fmt bench labs mutants prove fuzz cover clean help

build: ## the program, into bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

release-agents: ## the programs for boot media, for builds with -tags embedagent, as releases are
	sh .ci/agents '$(VERSION)'

test: ## the fast tests; a few minutes the first time, nothing needed but Go
	$(GO) test $(PKG)

test-long: ## all tests, also the long ones (crashes, 10,000 machines, independent programs where installed)
	FLEETMEND_LONG=1 $(GO) test -timeout=30m $(PKG)

race: ## the fast tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race $(PKG)

lint: ## vet and golangci-lint; the import arrows are rules in .golangci.yml
	$(GO) vet $(PKG)
	golangci-lint run

fmt: ## format in place
	golangci-lint fmt

bench: ## benchmarks of all packages and the scripts in test/bench/, one table last; ONLY as for fuzz
	BENCHTIME=$(BENCHTIME) GO='$(GO)' bash test/bench/run.sh '$(ONLY)'

labs: ## interoperation with independent programs: scripts in test/interop/ (each skips with one line what is absent)
	@set -e; for script in test/interop/*.sh; do \
	  [ -e "$$script" ] || { echo "labs: no scripts in test/interop"; break; }; \
	  echo "== $$script"; bash "$$script"; done

prove: ## the proofs at their full counts; ONLY as for fuzz, by name: make prove ONLY=directory-syncs
	@GO='$(GO)' bash test/prove/run.sh '$(ONLY)'

mutants: ## breaks N things, drawn by SEED, of PKG (agent, remediate/windows, ...): who notices? Without PKG: of the table, with its tests; RENEW=yes
	$(GO) run ./test/mutants $(if $(filter-out ./...,$(PKG)),-pkg $(PKG)) $(if $(N),-n $(N)) $(if $(SEED),-seed $(SEED)) $(if $(MOST),-most $(MOST)) $(if $(RENEW),-renew)

fuzz: ## every fuzz target for FUZZTIME each; only those that match ONLY, a regular expression over folder and name
	GO='$(GO)' FUZZTIME=$(FUZZTIME) bash test/fuzz/run.sh '$(ONLY)'

cover: ## coverage of the fast tests, by function
	mkdir -p bin
	$(GO) test -coverprofile=bin/cover.out -coverpkg=./... $(PKG)
	$(GO) tool cover -func=bin/cover.out | tail -n 1

clean: ## what was built
	rm -rf bin dist

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
