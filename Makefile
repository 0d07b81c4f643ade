# Everything needs Go and make only, but for what says otherwise.
GO ?= go

.PHONY: help demo build test lint bench system-test fuzz clean

help: ## This list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## A cluster of three agents on this machine, one of which dies.
	$(GO) run ./test/demo bin

build: ## bin/awa-agent and bin/check_awa.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/awa-agent ./agent
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/check_awa ./check

test: lint ## What must hold before a commit: lint and the quick tests, with -race.
	$(GO) test -race -timeout 10m ./...

lint: ## gofmt, go vet, staticcheck.
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt wants: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

bench: build ## Times of edits, sweeps and check_awa beside yardsticks; some minutes.
	$(GO) run ./test/bench

clean: ## Remove what was built.
	rm -rf bin
