# Everything needs Go and make only, except where it says otherwise.
GO ?= go
FUZZTIME ?= 1m
SOAK ?= 2m
CHAOS ?= 4m
AGENTS ?= 251

# The race detector needs a C compiler.
RACE := $(if $(shell command -v $${CC:-cc}),-race)

.PHONY: help demo build test lint bench manual screenshots simulation system-test fault-test chaos-test hostile-test package release package-test fuzz clean

help: ## This list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## A cluster of three agents on this machine, one of which dies.
	$(GO) run ./test/demo bin

build: ## bin/awa-agent and bin/check_awa.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/awa-agent ./agent
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/check_awa ./check

test: lint ## What must hold before a commit: lint, and the quick tests with the race detector.
	@[ -n "$(RACE)" ] || echo "== NO C COMPILER: the tests run without the race detector"
	@[ -n "$(RACE)" ] || [ -z "$$AWA_TEST_NO_SKIP" ]
	$(GO) test $(RACE) -timeout 10m ./...

system-test: ## Tests with programs from Debian, which this installs (root), and with Telegraf, which they build.
	test/install-debian.sh
	test/install-npm.sh
	$(GO) test -tags system -timeout 20m -count 1 ./test

screenshots: ## The pictures of the README, again, from a real cluster (root).
	test/install-debian.sh chromium fonts-dejavu-core tmux
	AWA_TEST_PICTURES=$(CURDIR)/docs/pictures $(GO) test -tags system -count 1 -run '^TestScreenshots$$' ./test

fault-test: ## Agents on five hosts of their own, which are broken in every way; then a soak of SOAK (2m) (root).
	test/install-debian.sh iproute2 iptables serf
	AWA_TEST_SOAK=$(SOAK) $(GO) test -tags system -timeout 60m -count 1 -parallel 3 -v -skip '^TestChaos$$' ./test/faults

chaos-test: ## Everything happens to five agents that take edits, in random order, for CHAOS (4m) (root).
	test/install-debian.sh iproute2 iptables curl
	AWA_TEST_CHAOS=$(CHAOS) $(GO) test -tags system -timeout 0 -count 1 -v -run '^TestChaos$$' ./test/faults

hostile-test: ## Strangers, holders of keys and lying peers against whole agents: what they cost, what is believed.
	$(GO) test -tags system -timeout 20m -count 1 -v ./test/hostile

simulation: ## The watchers of AGENTS agents on a simulated clock; about 1 GB for 200, of which WATCHERS are whole.
	AWA_TEST_AGENTS=$(AGENTS) AWA_TEST_WATCHERS=$(WATCHERS) $(GO) test -tags simulation -timeout 0 -count 1 -v -run '^TestSimulation$$' ./pkg/watch

package: ## A .deb and an .rpm each for amd64 and arm64, in dist/.
	packaging/build.sh

release: ## The packages, SHA256SUMS and the SBOM of each program, in dist/.
	packaging/release.sh

package-test: ## The packages in the hands of Debian, systemd, lintian, rpm and rpmlint (root).
	test/install-debian.sh debootstrap systemd-container lintian rpm rpmlint cpio iproute2 qemu-user-static shellcheck ansible-core
	$(GO) test -tags system -timeout 20m -count 1 -v ./test/packages

fuzz: ## Every fuzz test for FUZZTIME (1m).
	@set -e; for package in $$($(GO) list ./...); do \
		for name in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

lint: ## gofmt, go vet, staticcheck.
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt wants: $$unformatted"; exit 1; }
	$(GO) vet -tags system,simulation ./...
	$(GO) tool staticcheck -tags system,simulation ./...

manual: ## The man pages and the shells' completions, again from the flags of the programs.
	$(GO) test -count 1 -run '^TestManual$$' ./agent ./check -update

bench: build ## Times of edits, sweeps and check_awa beside yardsticks; some minutes.
	$(GO) run ./test/bench

clean: ## Remove what was built.
	rm -rf bin dist
