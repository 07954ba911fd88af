//! The whole process: server or poller, consumers of both queues, refresh of the secrets, an orderly end.

use crate::{
    app::App,
    polling::{self, CannotPoll, TakeOver},
    results, server,
    telegram::call,
    texts::{COMMANDS, Language},
    work,
};
use std::{sync::Arc, time::Duration};
use teloxide::{
    payloads::SetMyCommandsSetters,
    prelude::{Request, Requester},
    types::BotCommand,
};
use tokio::net::TcpListener;

/// The least time between two looks at the secrets.
const LEAST_REFRESH: Duration = Duration::from_secs(5);

/// How updates come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Telegram delivers them.
    Webhook,
    /// The bot asks for them.
    Polling(TakeOver),
}

/// Runs until the process is told to end, and what is in work is done.
pub async fn run(app: Arc<App>, listener: TcpListener, mode: Mode) -> Result<(), CannotPoll> {
    tokio::spawn(set_commands(Arc::clone(&app)));
    tokio::spawn(refresh(Arc::clone(&app)));
    let consumers = [
        tokio::spawn(work::consume(Arc::clone(&app), app.config.results_queue.clone(), results::CONSUMER)),
        tokio::spawn(work::consume(Arc::clone(&app), app.config.work_queue.clone(), work::CONSUMER)),
    ];
    let end = Arc::clone(&app);
    let server = axum::serve(listener, server::routes(Arc::clone(&app)));
    let server = tokio::spawn(server.with_graceful_shutdown(async move { end.stopped().await }).into_future());
    if let Mode::Polling(take_over) = mode {
        polling::poll(Arc::clone(&app), take_over).await?;
    }
    // A task that panicked has said so already.
    let _ = server.await;
    for consumer in consumers {
        let _ = consumer.await;
    }
    Ok(())
}

/// Tells Telegram the menu of commands in every language.
async fn set_commands(app: Arc<App>) {
    let bot = app.identity.now().bot.clone();
    for (language, code) in [(Language::English, None), (Language::Hebrew, Some("he"))] {
        let commands = COMMANDS.map(|name| BotCommand::new(name, language.text(&format!("command-{name}"), &[])));
        let set = call("setMyCommands", || {
            let set = bot.set_my_commands(commands.clone());
            match code {
                Some(code) => set.language_code(code).send(),
                None => set.send(),
            }
        });
        if let Err(trouble) = set.await {
            tracing::warn!("the menu of commands is not set: {}", trouble.chain());
        }
    }
}

/// Looks at the secrets from time to time, and soon where there are doubts: after a rotation, the first delivery or call
/// that is refused brings the new token. Whoever forges deliveries does not make this ask more often than every few seconds.
async fn refresh(app: Arc<App>) {
    let every = app.config.timing.refresh;
    loop {
        tokio::time::sleep(every.min(LEAST_REFRESH)).await;
        tokio::select! {
            () = tokio::time::sleep(every.saturating_sub(LEAST_REFRESH)) => {}
            () = app.identity.doubted() => {}
        }
        let refreshed = app.identity.refresh(&app.config).await;
        app.missing.note("Telegram or the secrets", refreshed.is_ok());
        if let Err(trouble) = refreshed {
            tracing::warn!("the secrets cannot be refreshed: {}", trouble.chain());
        }
    }
}
