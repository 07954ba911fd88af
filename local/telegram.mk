.PHONY: telegram
telegram: ## a local Telegram in the foreground, with a chat page for the browser
	@$(CARGO) run --quiet --locked --bin local-telegram
