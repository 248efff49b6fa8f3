# Targets of Corbel. "make help" lists them.
GO      ?= go
CACHE   := $(CURDIR)/.cache
OPENAPI := $(CACHE)/openapi/api.github.com.json
WEB     := internal/console/web
MODULES := $(WEB)/node_modules/.package-lock.json
EXAMPLES := $(CACHE)/webhook-examples/api.github.com.json
AXE     := $(CACHE)/axe/axe.min.js
# What builds and tests the console needs Node 20.19, 22.12 or later. Where npm
# comes with an older one, as in Debian 12, a newer is fetched into the cache.
NODE    := $(shell command -v npm >/dev/null 2>&1 && { node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || a == 22 && b >= 12 || a == 20 && b >= 19 ? 0 : 1)' 2>/dev/null || echo $(CACHE)/node/node_modules/.bin; })
NPM     := $(if $(NODE),PATH="$(NODE):$$PATH" )npm
# The race detector needs a C compiler; where there is none the tests run
# without it and say so.
RACE    := $(shell command -v $${CC:-gcc} >/dev/null 2>&1 && echo -race)

.PHONY: help build console verify-console demo test check generate verify bench fuzz vuln clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: bin/corbel ## build bin/corbel

bin/corbel: FORCE
	$(GO) build -trimpath -o $@ ./cmd/corbel
FORCE:

console: $(NODE) ## build the console into internal/console/dist, which is committed (needs npm)
	cd $(WEB) && $(NPM) ci --no-audit --no-fund && $(NPM) run build

verify-console: console ## fail if the committed console is not what its sources give
	@git diff --exit-code --stat -- internal/console/dist && [ -z "$$(git status --porcelain -- internal/console/dist)" ] || \
		{ echo "internal/console/dist is out of date; commit it as it is now"; exit 1; }

demo: bin/corbel ## a token goes in, a private repository gets built: the whole story on this screen
	$(GO) run ./demo -corbel bin/corbel

test: check $(OPENAPI) $(EXAMPLES) $(AXE) $(MODULES) ## vet, staticcheck, generated files, import rule, and every test with the race detector
	@[ -n "$(RACE)" ] || echo "no C compiler: the tests run WITHOUT the race detector"
	CORBEL_AXE=$$([ -f $(AXE) ] && echo $(AXE)) \
	CORBEL_OPENAPI=$$([ -f $(OPENAPI) ] && echo $(OPENAPI)) \
	CORBEL_WEBHOOK_EXAMPLES=$$([ -f $(EXAMPLES) ] && echo $(dir $(EXAMPLES))) $(GO) test $(RACE) -timeout 18m ./...
	@if [ -f $(MODULES) ]; then cd $(WEB) && $(NPM) test --silent; \
	elif [ -n "$$CORBEL_TEST_STRICT" ]; then echo "the console's own tests need npm"; exit 1; \
	else echo "SKIPPED: the console's own tests, which need npm"; fi

check: verify ## vet, gofmt and staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "gofmt these files"; exit 1; }
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

generate: ## write the generated files again
	$(GO) generate ./api
	$(GO) test ./internal/service -run 'TestOperationsDocument' -write

verify: ## fail if a generated file is out of date
	@before=$$(cat api/*.gen.go api/*/*.gen.go internal/client/*.gen.go internal/console/web/src/*.gen.ts | cksum); \
	$(GO) generate ./api && \
	after=$$(cat api/*.gen.go api/*/*.gen.go internal/client/*.gen.go internal/console/web/src/*.gen.ts | cksum); \
	[ "$$before" = "$$after" ] || { echo "generated files were out of date; commit them as they are now"; exit 1; }

# GitHub's descriptions of its API and of its webhooks judge our test host. They
# are fetched once; without npm or a registry the tests that need them say that
# they skip.
$(OPENAPI): internal/forge/forgetest/testdata/fetch-openapi.sh
	@mkdir -p $(dir $@)
	@command -v npm >/dev/null 2>&1 && internal/forge/forgetest/testdata/fetch-openapi.sh $(dir $@) || \
		echo "GitHub's OpenAPI descriptions could not be fetched; tests that need them will say so"

# Examples of GitHub's deliveries judge how we read them, likewise.
$(EXAMPLES):
	@mkdir -p $(dir $@)
	@command -v npm >/dev/null 2>&1 && internal/forge/forgetest/testdata/fetch-webhook-examples.sh $(dir $@) || \
		echo "the examples of GitHub's deliveries could not be fetched; tests that need them will say so"

# What builds and tests the console. Without npm or a registry its own tests say
# that they skip.
$(MODULES): $(WEB)/package-lock.json | $(NODE)
	@command -v npm >/dev/null 2>&1 && (cd $(WEB) && $(NPM) ci --no-audit --no-fund --silent) && touch $@ || \
		echo "the packages of the console could not be fetched"

$(CACHE)/node/node_modules/.bin:
	@npm install --silent --no-audit --no-fund --prefix $(CACHE)/node node@22 npm@10 || \
		echo "a newer Node could not be fetched"

# axe looks for what keeps people out of the console's pages, likewise.
$(AXE): testdata/fetch-axe.sh
	@mkdir -p $(dir $@)
	@command -v npm >/dev/null 2>&1 && testdata/fetch-axe.sh $(dir $@) || \
		echo "axe could not be fetched; tests that need it will say so"

bench: bin/corbel ## measure, and print the table of docs/benchmarks.md
	$(GO) run ./bench -corbel bin/corbel

fuzz: ## run each fuzz target for FUZZTIME (default 20s)
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz'); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-20s} $$pkg || exit 1; \
		done; \
	done

vuln: ## known vulnerabilities, where the database can be reached
	$(GO) tool -modfile=tools/go.mod govulncheck ./...

clean: ## remove what was built and fetched
	rm -rf bin $(CACHE)
